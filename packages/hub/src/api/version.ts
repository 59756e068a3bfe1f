/**
 * The version of JupyterHub whose clients are served. They compare the major number with their own and refuse to start
 * when it is no version of Python's; what follows the plus sign is free, and says who answers.
 *
 * @see https://peps.python.org/pep-0440/
 */
export const JUPYTERHUB_VERSION = '5.2.1+metalhub';
