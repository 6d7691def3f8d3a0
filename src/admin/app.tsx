import { Suspense, useMemo } from 'react';
import { Provider } from 'urql';
import { Route, Switch, useLocation } from 'wouter';
import { createApi } from './api.js';
import { ConfirmPassword } from './components/confirm-password.js';
import { Crash } from './components/crash.js';
import { Loading } from './components/state.js';
import { Shell } from './components/shell.js';
import { SignInAgain } from './components/sign-in-form.js';
import { useIsAsking } from './confirmation.js';
import { page } from './connection.js';
import { Overview } from './pages/overview.js';
import { NotFound } from './pages/not-found.js';
import { SignIn } from './pages/sign-in.js';
import { useSession } from './session.js';

// One file each, loaded when the page is opened.
const Backups = page(() => import('./pages/backups.js'));
const Backup = page(() => import('./pages/backup.js'));
const Restore = page(() => import('./pages/restore.js'));
const Compare = page(() => import('./pages/compare.js'));
const Query = page(() => import('./pages/query.js'));
const Restores = page(() => import('./pages/restores.js'));
const RestoreRun = page(() => import('./pages/restore-run.js'));
const Configs = page(() => import('./pages/configs.js'));
const Config = page(() => import('./pages/config.js'));
const Destinations = page(() => import('./pages/destinations.js'));
const Notifications = page(() => import('./pages/notifications.js'));
const Keys = page(() => import('./pages/keys.js'));
const Upload = page(() => import('./pages/upload.js'));
const Protect = page(() => import('./pages/protect.js'));
const Recover = page(() => import('./pages/recover.js'));
const RecoverBackup = page(() => import('./pages/recover-backup.js'));
const Users = page(() => import('./pages/users.js'));
const Activity = page(() => import('./pages/activity.js'));

/** All pages; without a session only the sign-in. The server knows the same addresses: see src/http/admin.ts. */
export function App() {
  const { session, ended } = useSession();
  const isAsking = useIsAsking();
  const [location] = useLocation();
  const token = session?.token ?? null;
  // Another session asks again for everything on the screen; what people have typed stays.
  const api = useMemo(() => createApi(token), [token]);
  return (
    <Provider value={api}>
      {session === null ? (
        <SignIn />
      ) : (
        <Shell email={session.email}>
          <Crash place={location}>
            <Suspense fallback={<Loading />}>
              <Switch>
                <Route path="/" component={Overview} />
                <Route path="/backups" component={Backups} />
                <Route path="/backups/:id">{({ id }) => <Backup key={id} id={id} />}</Route>
                <Route path="/backups/:id/restore">{({ id }) => <Restore key={id} id={id} />}</Route>
                <Route path="/backups/:id/compare">{({ id }) => <Compare key={id} id={id} />}</Route>
                <Route path="/backups/:id/query">{({ id }) => <Query key={id} id={id} />}</Route>
                <Route path="/restores" component={Restores} />
                <Route path="/restores/:id">{({ id }) => <RestoreRun key={id} id={id} />}</Route>
                <Route path="/configs" component={Configs} />
                <Route path="/configs/new">
                  <Config key="new" id={null} />
                </Route>
                <Route path="/configs/:id">{({ id }) => <Config key={id} id={id} />}</Route>
                <Route path="/destinations" component={Destinations} />
                <Route path="/notifications" component={Notifications} />
                <Route path="/keys" component={Keys} />
                <Route path="/upload" component={Upload} />
                <Route path="/activity" component={Activity} />
                <Route path="/protect" component={Protect} />
                <Route path="/recover" component={Recover} />
                <Route path="/recover/:id">{({ id }) => <RecoverBackup key={id} id={id} />}</Route>
                <Route path="/users" component={Users} />
                <Route component={NotFound} />
              </Switch>
            </Suspense>
          </Crash>
          {isAsking && <ConfirmPassword email={session.email} />}
          {ended && <SignInAgain email={session.email} />}
        </Shell>
      )}
    </Provider>
  );
}
