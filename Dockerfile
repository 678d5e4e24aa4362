# Build: docker build -t kolumn .
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --release

FROM debian:bookworm-slim
RUN useradd --create-home kolumn && mkdir /archive /state && chown kolumn /archive /state
COPY --from=build /source/target/release/kolumn /usr/local/bin/kolumn
USER kolumn
ENTRYPOINT ["kolumn"]
