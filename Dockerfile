# The image of db-manager: docs/containers.md says how to run it. test/container.test.ts checks this file.

FROM node:22.21.1-trixie-slim AS build
WORKDIR /app
# For packages with a native part where there is no build of it to download.
RUN apt-get update \
  && apt-get install -y --no-install-recommends g++ make python3 \
  && rm -rf /var/lib/apt/lists/*
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json ./
COPY schema schema
COPY src src
RUN npm run build && npm prune --omit=dev

FROM node:22.21.1-trixie-slim
# The client programs that back up servers, an init that passes signals on, and rclone for destinations of its kinds.
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates mariadb-client postgresql-client rclone tini \
  && rm -rf /var/lib/apt/lists/* \
  && mkdir -p /data /backups \
  && chown 1000:1000 /data /backups \
  && chmod 700 /data /backups
COPY container/entrypoint.sh /usr/local/bin/db-manager
WORKDIR /app
COPY package.json .env.example ./
COPY recovery recovery
COPY schema schema
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist

ENV NODE_ENV=production \
  HOST=0.0.0.0 \
  PORT=4000 \
  DATA_DIR=/data \
  DB_BACKUP_PATH=/backups \
  HOME=/data
# Of the account `node`. Another: docs/containers.md#whose-files.
USER 1000:1000
# An own .env lies here.
WORKDIR /data
VOLUME ["/data", "/backups"]
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["db-manager", "health"]
ENTRYPOINT ["tini", "--", "db-manager"]
CMD ["serve"]
