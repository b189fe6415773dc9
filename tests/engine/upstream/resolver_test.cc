#include "engine/upstream/resolver.h"

#include <map>
#include <set>

#include "engine/event/loop.h"
#include "tests/support/loopback.h"

using namespace weir;
using namespace weir::upstream;
using weir::test::run_for;
using weir::test::run_until;

namespace {

constexpr uint16_t kA = 1;
constexpr uint16_t kAaaa = 28;

std::string number(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  return text;
}

// What the server says to one name and type.
struct Answer {
  int code = 0;  // 3: NXDOMAIN
  uint32_t ttl = 300;
  std::vector<std::string> addresses;  // binary
  bool truncated = false;              // over UDP: only the bit, the rest over TCP
  bool silent = false;
};

// A name server on loopback: UDP, and TCP on the same port.
class NameServer {
 public:
  explicit NameServer(Loop& loop) {
    udp_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // Another process may hold the UDP port of the number that TCP was given.
    bool bound = false;
    for (int i = 0; i < 50 && !bound; ++i) {
      tcp_ = std::make_unique<weir::test::Backend>(loop);
      const net::Address address = *net::Address::parse(tcp_->text());
      bound = ::bind(udp_, address.data(), address.size()) == 0;
    }
    REQUIRE(bound);
  }
  ~NameServer() { ::close(udp_); }
  std::string text() const { return tcp_->text(); }
  void add(const std::string& name, uint16_t type, Answer answer) {
    answers_[{name, type}] = std::move(answer);
  }
  void add(const std::string& name, std::vector<std::string> v4, uint32_t ttl = 300) {
    Answer answer;
    answer.ttl = ttl;
    answer.addresses = std::move(v4);
    add(name, kA, answer);
  }
  // Answers what has come.
  void serve() {
    char buffer[1500];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    for (;;) {
      const ssize_t count =
          ::recvfrom(udp_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (count <= 0) break;
      const std::string reply = answer({buffer, static_cast<size_t>(count)}, false);
      if (reply.empty()) continue;
      ::sendto(udp_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
    if (tcp_->waiting()) connections_.push_back(tcp_->accept());
    for (const auto& connection : connections_) {
      connection->take();
      std::string& text = connection->received;
      if (text.size() < 2) continue;
      const size_t length =
          static_cast<unsigned char>(text[0]) * 256u + static_cast<unsigned char>(text[1]);
      if (text.size() < length + 2) continue;
      const std::string reply = answer(text.substr(2, length), true);
      text.erase(0, length + 2);
      connection->send(number(reply.size(), 2) + reply);
    }
  }

  int questions = 0;
  int over_tcp = 0;

 private:
  std::string answer(const std::string& query, bool tcp) {
    ++questions;
    over_tcp += tcp;
    std::string name;
    size_t at = 12;
    while (at < query.size() && query[at] != 0) {
      if (!name.empty()) name += '.';
      const auto length = static_cast<uint8_t>(query[at]);
      name += query.substr(at + 1, length);
      at += length + 1;
    }
    const std::string question = query.substr(12, at + 5 - 12);
    const auto type = static_cast<uint16_t>(static_cast<unsigned char>(query[at + 1]) * 256 +
                                            static_cast<unsigned char>(query[at + 2]));
    const auto known = answers_.find({name, type});
    Answer said;
    if (known != answers_.end()) said = known->second;
    // A name that has another type only: no error, no address.
    if (known == answers_.end() && !answers_.count({name, kA}) && !answers_.count({name, kAaaa}))
      said.code = 3;
    if (said.silent) return {};
    const bool cut = said.truncated && !tcp;
    if (cut) said.addresses.clear();
    const auto flags = static_cast<uint64_t>(0x8180 | (cut ? 0x200 : 0) | said.code);
    std::string reply = query.substr(0, 2) + number(flags, 2) + number(1, 2) +
                        number(said.addresses.size(), 2) + number(0, 4) + question;
    for (const std::string& address : said.addresses) {
      reply += "\xc0\x0c" + number(type, 2) + number(1, 2) + number(said.ttl, 4) +
               number(address.size(), 2) + address;
    }
    return reply;
  }

  std::unique_ptr<weir::test::Backend> tcp_;
  int udp_ = -1;
  std::map<std::pair<std::string, uint16_t>, Answer> answers_;
  std::vector<std::unique_ptr<weir::test::Peer>> connections_;
};

std::string v4(int a, int b, int c, int d) {
  return {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c), static_cast<char>(d)};
}

struct Rig {
  Resolver& resolver(std::vector<std::string> words = {"ipv6=off"}) {
    words.push_back(server.text());
    made = std::make_unique<Resolver>(loop, words);
    return *made;
  }
  // One question, to its end.
  Resolution ask(const std::string& name) {
    Event event(loop);
    Resolver::Question question(event);
    made->ask(question, name);
    const bool done = run_until(loop, [&] {
      server.serve();
      return question.done();
    });
    REQUIRE(done);
    return question.answer();
  }
  Loop loop;
  NameServer server{loop};
  std::unique_ptr<Resolver> made;
};

std::set<std::string> texts(const Resolution& resolution) {
  std::set<std::string> all;
  for (const net::Address& address : resolution.addresses) all.insert(address.host_text());
  return all;
}

}  // namespace

TEST_CASE("resolver: a name, remembered by any spelling") {
  Rig rig;
  rig.resolver();
  rig.server.add("one.test", {v4(10, 0, 0, 1)});
  CHECK(texts(rig.ask("one.test")) == std::set<std::string>{"10.0.0.1"});
  CHECK(rig.server.questions == 1);
  CHECK(texts(rig.ask("ONE.test.")) == std::set<std::string>{"10.0.0.1"});
  CHECK(rig.server.questions == 1);
}

TEST_CASE("resolver: several addresses take turns at the front") {
  Rig rig;
  rig.resolver();
  rig.server.add("many.test", {v4(10, 0, 0, 1), v4(10, 0, 0, 2), v4(10, 0, 0, 3)});
  std::set<std::string> first;
  for (int i = 0; i < 3; ++i) {
    const Resolution resolution = rig.ask("many.test");
    CHECK(resolution.addresses.size() == 3);
    first.insert(resolution.addresses[0].host_text());
  }
  CHECK(first.size() == 3);
  CHECK(rig.server.questions == 1);
}

TEST_CASE("resolver: what does not exist, and what the server says no to") {
  Rig rig;
  rig.resolver();
  Answer answer;
  SECTION("NXDOMAIN is not remembered") {
    const Resolution resolution = rig.ask("none.test");
    CHECK(resolution.error == 3);
    CHECK(std::string(resolution.text) == "Host not found");
    const int questions = rig.server.questions;
    CHECK(rig.ask("none.test").error == 3);
    CHECK(rig.server.questions > questions);
  }
  SECTION("no address of this kind") {
    rig.server.add("six.test", kAaaa, answer);
    CHECK(rig.ask("six.test").error == 3);
  }
  SECTION("a format error") {
    answer.code = 1;
    rig.server.add("bad.test", kA, answer);
    CHECK(rig.ask("bad.test").error == 1);
  }
  SECTION("an empty name, and one that is none") {
    CHECK(rig.ask("").error == 3);
    CHECK(rig.ask(std::string(300, 'a')).error == 3);
    CHECK(rig.ask("a..test").error != 0);
  }
}

TEST_CASE("resolver: IPv6, alone and beside IPv4") {
  Rig rig;
  Answer six;
  six.addresses = {std::string(15, '\0') + "\x01"};
  rig.server.add("both.test", kAaaa, six);
  rig.server.add("both.test", {v4(10, 0, 0, 1)});
  rig.server.add("four.test", {v4(10, 0, 0, 4)});
  SECTION("both") {
    rig.resolver({});
    CHECK(texts(rig.ask("both.test")) == std::set<std::string>{"10.0.0.1", "::1"});
    // One kind is enough.
    CHECK(texts(rig.ask("four.test")) == std::set<std::string>{"10.0.0.4"});
  }
  SECTION("ipv4=off") {
    rig.resolver({"ipv4=off"});
    CHECK(texts(rig.ask("both.test")) == std::set<std::string>{"::1"});
    CHECK(rig.ask("four.test").error == 3);
  }
  SECTION("ipv6=off") {
    rig.resolver();
    CHECK(texts(rig.ask("both.test")) == std::set<std::string>{"10.0.0.1"});
  }
}

TEST_CASE("resolver: a truncated answer is asked for again over TCP") {
  Rig rig;
  rig.resolver();
  Answer answer;
  answer.truncated = true;
  for (int i = 0; i < 40; ++i) answer.addresses.push_back(v4(10, 0, 1, i));
  rig.server.add("long.test", kA, answer);
  CHECK(rig.ask("long.test").addresses.size() == 40);
  CHECK(rig.server.over_tcp == 1);
}

TEST_CASE("resolver: more addresses than anybody needs are bounded") {
  Rig rig;
  rig.resolver();
  Answer answer;
  answer.truncated = true;
  for (int i = 0; i < 1000; ++i) answer.addresses.push_back(v4(10, 1, i / 250, i % 250));
  rig.server.add("huge.test", kA, answer);
  CHECK(rig.ask("huge.test").addresses.size() == 64);
}

TEST_CASE("resolver: the time to live is kept to, or valid= instead") {
  Rig rig;
  SECTION("of the answer") {
    rig.resolver();
    rig.server.add("short.test", {v4(10, 0, 0, 1)}, 1);
    CHECK(texts(rig.ask("short.test")) == std::set<std::string>{"10.0.0.1"});
    rig.server.add("short.test", {v4(10, 0, 0, 2)}, 1);
    CHECK(texts(rig.ask("short.test")) == std::set<std::string>{"10.0.0.1"});
    run_for(rig.loop, 1100);
    CHECK(texts(rig.ask("short.test")) == std::set<std::string>{"10.0.0.2"});
  }
  SECTION("0: every question is asked anew") {
    rig.resolver();
    rig.server.add("zero.test", {v4(10, 0, 0, 1)}, 0);
    rig.ask("zero.test");
    run_for(rig.loop, 2);
    rig.ask("zero.test");
    CHECK(rig.server.questions == 2);
  }
  SECTION("valid=") {
    rig.resolver({"ipv6=off", "valid=1h"});
    rig.server.add("short.test", {v4(10, 0, 0, 1)}, 0);
    rig.ask("short.test");
    run_for(rig.loop, 2);
    rig.ask("short.test");
    CHECK(rig.server.questions == 1);
  }
}

TEST_CASE("resolver: a silent server is asked again, and a question can be taken back") {
  Rig rig;
  rig.resolver();
  Answer silent;
  silent.silent = true;
  rig.server.add("quiet.test", kA, silent);
  {
    Event event(rig.loop);
    Resolver::Question taken_back(event);
    rig.made->ask(taken_back, "quiet.test");
    REQUIRE(run_until(rig.loop, [&] {
      rig.server.serve();
      return rig.server.questions == 1;
    }));
    CHECK_FALSE(taken_back.done());
  }
  // The same question goes on: the next one waits for it, and has the answer of the second asking.
  rig.server.add("quiet.test", {v4(10, 0, 0, 9)});
  CHECK(texts(rig.ask("quiet.test")) == std::set<std::string>{"10.0.0.9"});
  CHECK(rig.server.questions == 2);
}

TEST_CASE("resolver: many ask at once, the server hears it once") {
  Rig rig;
  rig.resolver();
  rig.server.add("same.test", {v4(10, 0, 0, 1)});
  Event event(rig.loop);
  std::vector<std::unique_ptr<Resolver::Question>> questions;
  for (int i = 0; i < 50; ++i) {
    questions.push_back(std::make_unique<Resolver::Question>(event));
    rig.made->ask(*questions.back(), "same.test");
  }
  CHECK(run_until(rig.loop, [&] {
    rig.server.serve();
    return questions.back()->done();
  }));
  for (const auto& question : questions) CHECK(question->answer().addresses.size() == 1);
  CHECK(rig.server.questions == 1);
}

TEST_CASE("resolver: questions under way when it goes") {
  Rig rig;
  rig.resolver();
  rig.server.add("one.test", {v4(10, 0, 0, 1)});
  Event event(rig.loop);
  Resolver::Question question(event);
  rig.made->ask(question, "one.test");
  rig.made.reset();
  CHECK_FALSE(question.done());
}
