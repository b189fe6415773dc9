// The smallest backend that a benchmark needs: one thread, epoll, keep-alive. Answers every request
// with the body its target asks for (see wire.h); a request that carries Upgrade becomes an echo of
// raw bytes. Datagrams to the same port are sent back. Prints the port it listens on and serves
// until standard input ends.

#include <strings.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "tools/bench/server.h"

namespace {

using weir::bench::wanted_size;
using weir::bench::watch;

struct Connection {
  int descriptor = -1;
  bool tunnel = false;
  bool waits_for_room = false;
  bool ended = false;
  std::string input;
  std::string output;  // head of an answer, or bytes to echo
  size_t output_sent = 0;
  size_t body_left = 0;
  size_t body_size = 0;
};

class Backend : public weir::bench::Server {
  void accepted(int descriptor) override {
    auto* connection = new Connection;
    connection->descriptor = descriptor;
    watch(epoll_, descriptor, EPOLLIN, connection);
  }

  void ready(void* connection) override { serve(*static_cast<Connection*>(connection)); }

  void round_ended() override {
    for (Connection* connection : finished_) {
      close(connection->descriptor);
      delete connection;
    }
    finished_.clear();
  }

  void serve(Connection& connection) {
    if (connection.ended) return;
    if (!write_some(connection)) return;
    while (!connection.waits_for_room) {
      const ssize_t count = read(connection.descriptor, buffer_.data(), buffer_.size());
      if (count < 0 && errno == EAGAIN) return;
      if (count <= 0) return end(connection);
      const std::string_view bytes(buffer_.data(), static_cast<size_t>(count));
      if (connection.tunnel) {
        connection.output.append(bytes);
      } else {
        connection.input.append(bytes);
        answer_all(connection);
      }
      if (!write_some(connection)) return;
      if (static_cast<size_t>(count) < buffer_.size()) return;
    }
  }

  // Answers the requests that are whole, one at a time: the next waits until the last byte is out.
  void answer_all(Connection& connection) {
    const size_t end_of_head = connection.input.find("\r\n\r\n");
    if (end_of_head == std::string::npos || connection.body_left > 0) return;
    const std::string_view head = std::string_view(connection.input).substr(0, end_of_head + 2);
    const size_t begin = head.find(' ') + 1;
    const std::string_view target = head.substr(begin, head.find(' ', begin) - begin);
    if (has_upgrade(head)) {
      connection.tunnel = true;
      connection.output =
          "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
      connection.output.append(connection.input, end_of_head + 4);
      connection.input.clear();
      return;
    }
    connection.body_size = connection.body_left = wanted_size(target);
    connection.output = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " +
                        std::to_string(connection.body_size) + "\r\n\r\n";
    connection.input.erase(0, end_of_head + 4);
  }

  static bool has_upgrade(std::string_view head) {
    for (size_t line = head.find("\r\n"); line != std::string_view::npos;
         line = head.find("\r\n", line + 2)) {
      if (strncasecmp(head.data() + line + 2, "upgrade:", 8) == 0) return true;
    }
    return false;
  }

  // False when the connection has ended.
  bool write_some(Connection& connection) {
    while (connection.output_sent < connection.output.size() || connection.body_left > 0) {
      const size_t body_at = connection.body_size - connection.body_left;
      const std::array<iovec, 2> parts{iovec{connection.output.data() + connection.output_sent,
                                             connection.output.size() - connection.output_sent},
                                       iovec{pattern_.data() + body_at, connection.body_left}};
      const ssize_t count = writev(connection.descriptor, parts.data(), 2);
      if (count < 0 && errno == EAGAIN) return wait_for_room(connection, true), true;
      if (count < 0) return end(connection), false;
      const size_t head = std::min(static_cast<size_t>(count), parts[0].iov_len);
      connection.output_sent += head;
      connection.body_left -= static_cast<size_t>(count) - head;
      if (connection.output_sent == connection.output.size() && connection.body_left == 0) {
        connection.output.clear();
        connection.output_sent = 0;
        if (!connection.tunnel) answer_all(connection);
      }
    }
    wait_for_room(connection, false);
    return true;
  }

  void wait_for_room(Connection& connection, bool wait) {
    if (connection.waits_for_room == wait) return;
    connection.waits_for_room = wait;
    watch(epoll_, connection.descriptor, wait ? EPOLLOUT : EPOLLIN, &connection, true);
  }

  void end(Connection& connection) {
    connection.ended = true;
    finished_.push_back(&connection);
  }

  std::string pattern_ = weir::bench::make_pattern();
  std::vector<Connection*> finished_;
};

}  // namespace

int main() {
  return std::make_unique<Backend>()->run();
}
