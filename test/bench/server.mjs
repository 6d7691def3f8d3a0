/* A server in this process, asked over loopback as any client asks it. */
/* global fetch */
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
    download: (id) => fetch(new URL(`/api/db-manager/backups/${id}/download/`, address), { headers: headers() }),
    async close() {
      await http.close(0);
      await app.close(0);
    },
  };
}
