# The README's `cargo build --release`, and the one binary it makes.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
# Certificate authorities: mail servers are spoken to over TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin ouinon \
    && install -d -o ouinon -g ouinon -m 0700 /data
COPY --from=build /src/target/release/ouinon /usr/local/bin/ouinon
USER ouinon
WORKDIR /data
# The keys live here even when the database is elsewhere: without them every hashed refusal and every
# unsubscribe link is lost. Back the volume up.
ENV OUINON_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
# SIGTERM drains: nothing claimed is left behind.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["ouinon"]
CMD ["serve", "--bind", "0.0.0.0", "--port", "8080"]
