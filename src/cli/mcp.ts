import type { Command } from 'commander';
import { AppError, errnoOf } from '../errors.js';
import { readSettings } from '../environment.js';
import { serverAddress } from './health.js';
import { type GlobalOptions, Printer, reportFailure } from './print.js';

export function addMcp(program: Command): void {
  program
    .command('mcp')
    .description(
      'For assistants: speaks the Model Context Protocol on standard input and output, and passes it on to the server at ' +
        'DB_MANAGER_URL (default: that of this machine) with the API token in DB_MANAGER_TOKEN, whose scopes say what is allowed',
    )
    .action(async (_options: object, command: Command) => {
      const print = new Printer(command.optsWithGlobals<GlobalOptions>().json === true);
      try {
        await passOn();
      } catch (error) {
        reportFailure(print, error);
      }
    });
}

/** Between a program on this machine and the server; ends with its standard input. */
async function passOn(): Promise<void> {
  const { url, token } = readSettings().client;
  if (token === null) {
    throw new AppError('UNAUTHENTICATED', 'DB_MANAGER_TOKEN is not set.', {
      hint: 'Make an API token and set it, or DB_MANAGER_TOKEN_FILE: npx db-manager tokens add assistant --scope READ',
    });
  }
  const [{ StdioServerTransport }, { StreamableHTTPClientTransport }] = await Promise.all([
    import('@modelcontextprotocol/sdk/server/stdio.js'),
    import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
  ]);
  const near = new StdioServerTransport();
  const far = new StreamableHTTPClientTransport(new URL(`${url ?? serverAddress()}/api/mcp`), {
    requestInit: { headers: { Authorization: `Bearer ${token}` } },
  });
  far.onmessage = (message) => {
    if ('result' in message && typeof message.result.protocolVersion === 'string') {
      far.setProtocolVersion(message.result.protocolVersion);
    }
    void near.send(message);
  };
  near.onmessage = (message) => {
    far.send(message).catch((thrown: unknown) => {
      if (!('id' in message) || !('method' in message)) return;
      const error = { code: SERVER_ERROR, message: `The server does not take it: ${reasonOf(thrown)}` };
      void near.send({ jsonrpc: '2.0', id: message.id, error });
    });
  };
  await far.start();
  await near.start();
}

/** Of a server that is not reached, the system's code says more than the message. */
function reasonOf(thrown: unknown): string {
  const { message, cause } = thrown as Error;
  return errnoOf(cause) ?? message;
}

/** JSON-RPC's code for what a server defines itself. */
const SERVER_ERROR = -32_000;
