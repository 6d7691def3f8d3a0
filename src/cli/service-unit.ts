import { dirname, join } from 'node:path';
import type { ProgramCall } from './timer-shape.js';
import { commandLine, quoted, specifiers, type UnitSet } from './systemd-units.js';

/** What a unit of the service is made of. */
export interface ServiceTarget extends ProgramCall {
  /** Of the unit, without `.service`. */
  name: string;
  kind: 'server' | 'worker';
  /** Who the service runs as; never root. */
  account: string;
  /** How long running work may take to end, in milliseconds. */
  shutdownMs: number;
  /** Folders that it must be able to write; absolute. */
  writes: string[];
  /** False: it may be told to write anywhere, so that only the system's own folders are kept from it. */
  confined: boolean;
}

/** Beyond the time for running work: the process closes its connections. In seconds. */
const CLOSING = 10;
/** CONFIG_INVALID: the same settings fail again. */
const NO_RESTART = 20;

/** The unit of a server or a worker, with what a service of its kind never needs taken from it. */
export function serviceUnit(target: ServiceTarget): UnitSet {
  const { name, kind, account, node, cli, folder, shutdownMs } = target;
  const mark = `# Made by db-manager install-service in ${folder}; \`install-service --remove\` there takes it away.\n`;
  const text = `${mark}[Unit]
Description=db-manager: ${kind} of ${specifiers(folder)}
Wants=network-online.target
After=network-online.target postgresql.service mariadb.service mysql.service mongod.service
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=exec
User=${account}
WorkingDirectory=${specifiers(folder)}
ExecStart=${commandLine(node, cli)} ${kind === 'server' ? 'serve' : 'worker'}
Restart=on-failure
RestartSec=5
# Settings that are wrong stay wrong.
RestartPreventExitStatus=${NO_RESTART}
# Running backups and restores may end first.
TimeoutStopSec=${Math.ceil(shutdownMs / 1_000) + CLOSING}
KillMode=mixed
UMask=0077

NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
${folders(target).join('\n')}

[Install]
WantedBy=multi-user.target
`;
  const hint = 'Run it as root on a machine that systemd has started, such as with sudo.';
  return {
    files: { [`${name}.service`]: text },
    mark,
    starts: `${name}.service`,
    target: 'multi-user.target',
    hints: { write: hint, systemd: hint },
  };
}

/** What the service may see and write of the file system. */
function folders({ confined, writes, node, cli, folder }: ServiceTarget): string[] {
  if (!confined) return ['# With ALLOWED_PATHS in .env, a new unit lets it write only there.', 'ProtectSystem=full'];
  const isIn = (places: string[]) => (path: string) =>
    places.some((place) => path === place || path.startsWith(`${place}/`));
  const isHome = isIn(['/home', '/root', '/run/user']);
  const isTemporary = isIn(['/tmp', '/var/tmp']);
  const all = [...writes, folder, dirname(cli), node];
  return [
    'ProtectSystem=strict',
    // Not hidden: programs such as rclone have their settings there.
    `ProtectHome=${writes.some(isHome) ? 'no' : 'read-only'}`,
    ...(all.some(isTemporary) ? [] : ['PrivateTmp=yes']),
    ...writes.map((path) => `ReadWritePaths=${quoted(`-${path}`)}`),
  ];
}

/** Without those that lie in others of them. */
export function outermost(paths: string[]): string[] {
  const all = [...new Set(paths)].sort();
  return all.filter((path) => !all.some((other) => other !== path && path.startsWith(join(other, '/'))));
}
