# The whole server in one image. `docker build -t bootstrapper .`, or packaging/build-image.sh where there is neither a
# container engine nor an image hub.
#
# Starts as root to open its sockets, then runs as the user `bootstrapper` (uid 990). On the host's network:
#
#   docker run -d --name bootstrapper --net=host --restart=always \
#     --cap-drop=ALL --cap-add={NET_BIND_SERVICE,NET_RAW,SETUID,SETGID,SETPCAP,CHOWN,DAC_OVERRIDE,FOWNER} \
#     -v /etc/bootstrapper:/etc/bootstrapper:ro -v /var/lib/bootstrapper:/var/lib/bootstrapper bootstrapper
#
# NET_BIND_SERVICE  ports below 1024, kept until the end: chronyd opens its own
# NET_RAW           DHCP replies to machines that have no address yet; gone once the sockets are open
# SETUID SETGID SETPCAP CHOWN DAC_OVERRIDE FOWNER   to hand the state directory to `bootstrapper` and become it
# SYS_TIME is not among them: the clock is the host's to set.
ARG BASE=docker.io/library/debian:trixie-slim
FROM ${BASE}

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates chrony docker-registry gpg gpgv ipxe python3 python3-venv skopeo \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 990 --home-dir /nonexistent --shell /usr/sbin/nologin bootstrapper

# pip's usual variables choose another index, or wheels that are at hand
ARG PIP_NO_INDEX PIP_FIND_LINKS PIP_INDEX_URL
COPY . /usr/src/bootstrapper
RUN python3 -m venv /opt/bootstrapper \
 && /opt/bootstrapper/bin/pip install --no-cache-dir --disable-pip-version-check --quiet /usr/src/bootstrapper \
 && ln -s /opt/bootstrapper/bin/bootstrapper /usr/local/bin/bootstrapper \
 && mv /usr/src/bootstrapper/packaging/healthcheck.py /opt/bootstrapper/healthcheck.py \
 && rm -rf /usr/src/bootstrapper \
 && /opt/bootstrapper/bin/python -m compileall -q /opt/bootstrapper/lib >/dev/null

ENV PYTHONUNBUFFERED=1
EXPOSE 53/udp 53/tcp 67/udp 69/udp 80/tcp 123/udp 443/tcp 4011/udp 5000/tcp
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
  CMD ["/opt/bootstrapper/bin/python", "/opt/bootstrapper/healthcheck.py", "/etc/bootstrapper/cluster-desc.yaml"]
ENTRYPOINT ["/usr/local/bin/bootstrapper"]
CMD ["serve", "/etc/bootstrapper/cluster-desc.yaml", "--state", "/var/lib/bootstrapper"]
