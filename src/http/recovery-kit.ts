import { type Request, type Response, Router } from 'express';
import { type Auth, requireAdmin } from '../auth/index.js';
import type { RecoveryKits } from '../core/recovery/kit.js';

export interface KitParts {
  auth: Auth;
  recoveryKits: RecoveryKits;
}

/** GET /recovery-kit/ — a new recovery kit, as a ZIP. */
export function recoveryKit({ auth, recoveryKits }: KitParts): Router {
  const router = Router();
  router.get('/recovery-kit', async (request: Request, response: Response) => {
    const { email } = requireAdmin(await auth.authenticate(request.get('authorization')), 'ADMIN');
    const kit = await recoveryKits.make(email);
    response.set('Cache-Control', 'no-store').attachment('recovery-kit.zip').type('application/zip').send(kit);
  });
  return router;
}
