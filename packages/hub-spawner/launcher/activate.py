#!/usr/bin/python3
"""Runs a kernel in an environment that is activated first, as `conda activate` or `source bin/activate` does it.

`activate.py ENVIRONMENT SCRIPT PROGRAM [WORD...]`: the directory of a conda or virtual environment, and a script for bash
that is sourced after that; each may be empty. kernels.py writes such command lines into kernelspecs. It looks at the
environment when the kernel starts, so what was changed in it counts at the next start of the kernel.

Any Python from 3.9 on; the standard library only.
"""

import json
import os
import sys

# Said by `conda env config vars unset`.
CONDA_UNSET = "***unset***"
# The scripts see no words, and what they set for the shell ends with them.
SOURCE_AND_RUN = """
metalhub_scripts=("${@:2:$1}") metalhub_command=("${@:$1 + 2}")
set --
for metalhub_script in "${metalhub_scripts[@]}"; do . "$metalhub_script"; set +eu; done
exec -- "${metalhub_command[@]}"
"""


def is_conda(prefix):
    return os.path.isdir(os.path.join(prefix, "conda-meta"))


def activate(prefix, variables):
    """Changes the variables to those of the environment, and returns the scripts that are to be sourced after that."""
    if is_conda(prefix):
        return activate_conda(prefix, variables)
    script = os.path.join(prefix, "bin", "activate")
    if os.path.isfile(script):
        return [script]
    variables.pop("PYTHONHOME", None)
    variables["VIRTUAL_ENV"] = prefix
    put_first(variables, [os.path.join(prefix, "bin")])
    return []


def activate_conda(prefix, variables):
    conda = find_conda(prefix)
    name = conda_name(prefix, conda)
    condabin = os.path.join(conda or "", "condabin")
    put_first(variables, [os.path.join(prefix, "bin"), *([condabin] if conda and os.path.isdir(condabin) else [])])
    variables["CONDA_PREFIX"] = prefix
    variables["CONDA_SHLVL"] = "1"
    variables["CONDA_DEFAULT_ENV"] = name
    variables["CONDA_PROMPT_MODIFIER"] = f"({name}) "
    if conda:
        variables["CONDA_EXE"] = os.path.join(conda, "bin", "conda")
        variables["CONDA_PYTHON_EXE"] = os.path.join(conda, "bin", "python")
    for key, value in conda_variables(prefix).items():
        if value == CONDA_UNSET:
            variables.pop(key, None)
        else:
            variables[key] = value
    directory = os.path.join(prefix, "etc", "conda", "activate.d")
    return [os.path.join(directory, name) for name in names_in(directory) if name.endswith(".sh")]


def find_conda(prefix):
    """Where the conda lies that the environment belongs to, if that is next to it."""
    above, directory = os.path.split(os.path.dirname(prefix))
    for root in (prefix, *([above] if directory == "envs" else [])):
        if os.path.exists(os.path.join(root, "bin", "conda")):
            return root
    return None


def conda_name(prefix, conda):
    if prefix == conda:
        return "base"
    return os.path.basename(prefix) if os.path.basename(os.path.dirname(prefix)) == "envs" else prefix


def conda_variables(prefix):
    """Those of the packages, then those of `conda env config vars set`."""
    directory = os.path.join(prefix, "etc", "conda", "env_vars.d")
    tables = [read_table(os.path.join(directory, name)) for name in names_in(directory) if name.endswith(".json")]
    tables.append(read_table(os.path.join(prefix, "conda-meta", "state")).get("env_vars"))
    return {key: value for table in tables if isinstance(table, dict) for key, value in table.items() if is_variable(key, value)}


def is_variable(key, value):
    return isinstance(value, str) and key != "" and "=" not in key and "\0" not in key + value


def read_table(path):
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        print(f"<4>metalhub: {path} cannot be read: {error}", file=sys.stderr, flush=True)
        return {}
    return table if isinstance(table, dict) else {}


def names_in(directory):
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def put_first(variables, directories):
    others = [place for place in variables.get("PATH", os.defpath).split(os.pathsep) if place not in directories]
    variables["PATH"] = os.pathsep.join([*directories, *others])


def main():
    environment, script, *command = sys.argv[1:]
    variables = dict(os.environ)
    scripts = activate(environment, variables) if environment else []
    if script:
        scripts.append(script)
    if scripts:
        command = ["/bin/bash", "--noprofile", "--norc", "-c", SOURCE_AND_RUN, "activate", str(len(scripts)), *scripts, *command]
    try:
        os.execvpe(command[0], command, variables)
    except OSError as error:
        print(f"<3>metalhub: {command[0]} cannot be run: {error.strerror}", file=sys.stderr, flush=True)
        raise SystemExit(127) from None


if __name__ == "__main__":
    main()
