import { type Request, type Response, Router } from 'express';
import { type Auth, requireAdmin } from '../auth/index.js';
import { REPORT_POLICY, reportPage } from '../core/drills/report-page.js';
import type { DrillReports } from '../core/drills/reports.js';
import { badInput } from '../errors.js';

export interface ReportParts {
  auth: Auth;
  reports: DrillReports;
}

/**
 * GET /verifications/:id/report/ — the signed report of a drill: JSON, a page for a browser, or with `?part=signature` the
 * signature of that JSON. GET /drill-key.pem — the public key that verifies reports now, for anyone; with `?key=` that of a
 * report, by its `key`.
 */
export function drillReports({ auth, reports }: ReportParts): Router {
  const router = Router();
  router.get('/verifications/:id/report', async (request: Request<{ id: string }>, response: Response) => {
    requireAdmin(await auth.authenticate(request.get('authorization')), 'READ');
    const { id } = request.params;
    const { part } = request.query;
    if (part !== undefined && part !== 'signature') throw badInput('part', 'is not signature.', 'Leave it out.');
    const { report, signature } = await reports.get(id);
    response.set({ 'Cache-Control': 'no-store', Vary: 'Accept' });
    if (part === 'signature') {
      response.attachment(`${id}.sig`).type('application/octet-stream').send(signature);
    } else if (request.accepts(['application/json', 'text/html']) === 'text/html') {
      response.set('Content-Security-Policy', REPORT_POLICY).type('html').send(reportPage(report, signature));
    } else {
      response.type('application/json').send(Buffer.from(report));
    }
  });
  router.get('/drill-key.pem', async (request: Request, response: Response) => {
    const { key } = request.query;
    if (key !== undefined && !(typeof key === 'string' && /^[0-9a-f]{64}$/.test(key))) {
      throw badInput(
        'key',
        'is no SHA-256 in hex.',
        'Give the `key` of a report, or leave it out for the present one.',
      );
    }
    const pem = await reports.publicKey(key);
    response.set('Cache-Control', 'no-store').type('application/x-pem-file').send(pem);
  });
  return router;
}
