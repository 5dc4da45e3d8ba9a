// The floor under every latency figure: a bare relay of OpenIGTLink messages over loopback, with no work at all.
// Usage: floor_relay INPUT_PORT OUTPUT_PORT. Prints "ready", then serves one sender and one reader, over and over.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr std::size_t kHeaderBytes = 58;
constexpr std::size_t kBodySizeOffset = 42;

int listen_on(int port) {
  const int server = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(server, 4) != 0) {
    std::perror("floor_relay");
    std::exit(1);
  }
  return server;
}

bool read_all(int connection, unsigned char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t taken = recv(connection, data, size, 0);
    if (taken <= 0) return false;
    data += taken;
    size -= static_cast<std::size_t>(taken);
  }
  return true;
}

bool write_all(int connection, const unsigned char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = send(connection, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: floor_relay INPUT_PORT OUTPUT_PORT\n");
    return 2;
  }
  const int input_server = listen_on(std::atoi(argv[1]));
  const int output_server = listen_on(std::atoi(argv[2]));
  std::puts("ready");
  std::fflush(stdout);
  std::vector<unsigned char> message;
  for (;;) {
    const int reader = accept(output_server, nullptr, nullptr);
    const int sender = accept(input_server, nullptr, nullptr);
    const int on = 1;
    setsockopt(reader, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (;;) {
      message.resize(kHeaderBytes);
      if (!read_all(sender, message.data(), kHeaderBytes)) break;
      std::uint64_t body_size = 0;
      for (std::size_t i = 0; i < 8; ++i) body_size = body_size << 8 | message[kBodySizeOffset + i];
      if (body_size > (1ULL << 30)) break;
      message.resize(kHeaderBytes + body_size);
      if (!read_all(sender, message.data() + kHeaderBytes, body_size)) break;
      if (!write_all(reader, message.data(), message.size())) break;
    }
    close(sender);
    close(reader);
  }
}
