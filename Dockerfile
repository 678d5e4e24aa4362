# Build: docker build -t kolumn .
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --release

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates openssl && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home kolumn && mkdir /archive /state /secrets && chown kolumn /archive /state /secrets
COPY --from=build /source/target/release/kolumn /usr/local/bin/kolumn
USER kolumn
ENTRYPOINT ["kolumn"]
