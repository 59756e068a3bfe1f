export const API_SOCKET = 'hub-api.socket';
/** Serves it, once it has been started with it. */
export const API_SERVICE = 'hub.service';
/** As the unit is shipped. */
export const API_ADDRESS = { host: '127.0.0.1', port: 8081 } as const;
