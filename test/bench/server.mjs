/* A server in this process, asked over loopback as any client asks it. */
/* global fetch */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { createApp, createServer } from '../../dist/app.js';
import { loadEnvironment } from '../../dist/environment.js';

const LOGIN = { email: 'bench@localhost', password: 'only for this measurement' };

/** @param settings environment variables beside those that every server here has */
export async function startServer(folder, settings = {}) {
  const environment = loadEnvironment(
    { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', LOG_LEVEL: 'silent', ...settings },
    folder,
  );
  const app = await createApp(environment);
  await app.auth.users.ensureAdmin(LOGIN.email, LOGIN.password);
  const http = await createServer(app);
  const address = await http.listen(0, '127.0.0.1');
  let token = '';
  const headers = () => ({ 'Content-Type': 'application/json', Authorization: `Bearer ${token}` });
  const ask = async (query) => {
    const response = await fetch(new URL('/graphql', address), {
      method: 'POST',
      headers: headers(),
      body: JSON.stringify({ query }),
    });
    const { data, errors } = await response.json();
    if (errors) throw new Error(`${query}: ${errors[0].message}`);
    return data;
  };
  const answer = await ask(`mutation { login(email: "${LOGIN.email}", password: "${LOGIN.password}") { token } }`);
  token = answer.login.token;
  return {
    app,
    ask,
    download: (id) => curl(new URL(`/api/db-manager/backups/${id}/download/`, address), token),
    async close() {
      await http.close(0);
      await app.close(0);
    },
  };
}

/** Downloads to nowhere in a process of its own: a client in this one would take its time from the server. */
async function curl(url, token) {
  const child = spawn('curl', ['-sSf', '-o', '/dev/null', '-w', '%{size_download} %{time_total}', '--config', '-']);
  const ended = new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  child.stdin.end(`url = "${url}"\nheader = "Authorization: Bearer ${token}"\n`);
  const [said, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if ((await ended) !== 0) throw new Error(errors);
  const [bytes, seconds] = said.split(' ').map(Number);
  return { bytes, seconds };
}
