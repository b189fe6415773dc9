// DNS answers: a name server on loopback answers every question with the input, behind the
// question's own number (and behind the question itself, unless the first byte says otherwise). The
// second bit of that byte asks for the records of a service.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/event/loop.h"
#include "engine/upstream/resolver.h"

using namespace weir;
using namespace weir::upstream;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

struct Server {
  Server() {
    descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    require(::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    socklen_t size = sizeof address;
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
    text = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  // Answers one question; false when none is there.
  bool answer(bool with_question, std::string_view rest) {
    char query[512];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const ssize_t count =
        ::recvfrom(descriptor, query, sizeof query, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (count < 12) return false;
    std::string reply(query, 2);
    if (with_question) {
      // Flags and counts of records from the input, one question.
      reply.append(rest.substr(0, 2));
      reply.append(std::string("\0\1", 2));
      rest.remove_prefix(std::min<size_t>(rest.size(), 2));
      reply.append(rest.substr(0, 6));
      rest.remove_prefix(std::min<size_t>(rest.size(), 6));
      reply.append(query + 12, static_cast<size_t>(count) - 12);
    }
    reply.append(rest);
    ::sendto(descriptor, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    return true;
  }
  int descriptor;
  std::string text;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 4096) return 0;
  static Loop loop;
  static Server server;
  const ServiceAnswer parsed = parse_service_answer(data + 1, size - 1);
  require(parsed.records.size() <= kMostServiceRecords);
  Resolver resolver(loop, {server.text, "ipv6=off"});
  Event event(loop);
  Resolver::Question question(event);
  const bool service = data[0] & 2;
  if (service) {
    resolver.ask_service(question, "_http._tcp.name.test");
  } else {
    resolver.ask(question, "name.test");
  }
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (int tries = 0; tries < 4 && !question.done(); ++tries) {
    if (!server.answer((data[0] & 1) == 0, input)) break;
    for (int i = 0; i < 3 && !question.done(); ++i) loop.run_once(0);
  }
  while (server.answer(true, {})) {
  }
  if (!question.done()) return 0;
  const Resolution& answer = question.answer();
  require(answer.error != 0 || !(service ? answer.records.empty() : answer.addresses.empty()));
  require(answer.records.size() <= kMostServiceRecords);
  require(answer.addresses.size() <= 64);
  for (const net::Address& address : answer.addresses) require(!address.host_text().empty());
  // Remembered or not, it can be asked for again.
  Resolver::Question again(event);
  resolver.ask(again, "NAME.test.");
  return 0;
}
