import type { RequestHandler } from 'express';

/**
 * Ends the connection of a client that owes the rest of its body and sends nothing of it for so long: it would hold an
 * upload, and its place, for ever. A body that keeps coming may take any time, and so may the answer to a whole one.
 * @param patience in milliseconds
 */
export function endSilent(patience: number): RequestHandler {
  return (request, response, next) => {
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
    if (coding !== undefined || Number(length ?? 0) > 0) {
      // Node destroys a socket whose time is up; after the answer the time is again its own, of a connection at rest.
      request.socket.setTimeout(patience);
      request.once('end', () => {
        if (!response.writableFinished) request.socket.setTimeout(0);
      });
    }
    next();
  };
}
