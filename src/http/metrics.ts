import { createHash, timingSafeEqual } from 'node:crypto';
import { type Request, type Response, Router } from 'express';
import { Gauge, Registry } from 'prom-client';
import { type Auth, requireAdmin } from '../auth/index.js';
import { type MetricsEnvironment, readMetrics } from '../core/status/metrics.js';

export interface MetricsParts extends MetricsEnvironment {
  auth: Auth;
  /** What Prometheus may send instead of an admin's token; null: nothing. */
  metricsToken: string | null;
}

/** GET /metrics: in Prometheus' text format, for an admin or with the token for metrics. */
export function metrics(parts: MetricsParts): Router {
  const router = Router();
  router.get('/metrics', async (request: Request, response: Response) => {
    await assertAllowed(parts, request.get('authorization'));
    const registry = new Registry();
    for (const { name, help, labels: labelNames, values } of await readMetrics(parts)) {
      const gauge = new Gauge({ name, help, labelNames, registers: [registry] });
      for (const { labels, value } of values) gauge.set(labels, value);
    }
    const text = await registry.metrics();
    response.set({ 'Cache-Control': 'no-store', 'Content-Type': registry.contentType }).send(text);
  });
  return router;
}

/** @throws AppError UNAUTHENTICATED, FORBIDDEN */
async function assertAllowed({ auth, metricsToken }: MetricsParts, header: string | undefined): Promise<void> {
  const token = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (metricsToken !== null && token !== undefined && isSame(token, metricsToken)) return;
  requireAdmin(await auth.authenticate(header), 'READ');
}

/** Takes as long for any two texts. */
const isSame = (one: string, other: string) => timingSafeEqual(digest(one), digest(other));
const digest = (text: string) => createHash('sha256').update(text).digest();
