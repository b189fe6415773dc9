#include "engine/upstream/resolver.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "engine/event/loop.h"
#include "engine/upstream/system_servers.h"
#include "tests/engine/upstream/name_server.h"

using namespace weir;
using namespace weir::upstream;
using namespace weir::test;

namespace {

// A file of our own in the place of /etc/resolv.conf.
class SystemFile {
 public:
  SystemFile() : before_(SystemServers::path) {
    char path[] = "/tmp/weir-resolv-XXXXXX";
    const int descriptor = ::mkstemp(path);
    REQUIRE(descriptor >= 0);
    ::close(descriptor);
    path_ = path;
    SystemServers::path = path_.c_str();
  }
  ~SystemFile() {
    SystemServers::path = before_;
    ::unlink(path_.c_str());
  }
  // As resolvconf and others do: a new file takes the place of the old one.
  void write(const std::string& text) {
    const std::string other = path_ + ".new";
    std::ofstream(other) << text;
    REQUIRE(::rename(other.c_str(), path_.c_str()) == 0);
  }
  void remove() { ::unlink(path_.c_str()); }

 private:
  const char* before_;
  std::string path_;
};

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

TEST_CASE("resolver: a name server on IPv6, with a port") {
  Loop loop;
  NameServer server("[::1]:0");
  REQUIRE(server.is_open());
  server.add("one.test", {v4(10, 0, 0, 1)});
  Resolver resolver(loop, {"ipv6=off", server.text()});
  Event event(loop);
  Resolver::Question question(event);
  resolver.ask(question, "one.test");
  REQUIRE(run_until(loop, [&] {
    server.serve();
    return question.done();
  }));
  CHECK(texts(question.answer()) == std::set<std::string>{"10.0.0.1"});
}

TEST_CASE("resolver: several servers take turns, and a silent one is passed over") {
  Loop loop;
  NameServer first(loop), second(loop);
  for (int i = 0; i < 8; ++i) {
    const std::string name = "n" + std::to_string(i) + ".test";
    first.add(name, {v4(10, 0, 0, 1)});
    second.add(name, {v4(10, 0, 0, 2)});
  }
  Resolver resolver(loop, {"ipv6=off", first.text(), second.text()});
  Event event(loop);
  std::vector<std::unique_ptr<Resolver::Question>> questions;
  SECTION("turns") {
    for (int i = 0; i < 8; ++i) {
      questions.push_back(std::make_unique<Resolver::Question>(event));
      resolver.ask(*questions.back(), "n" + std::to_string(i) + ".test");
    }
    const auto done = [&] {
      first.serve();
      second.serve();
      return std::all_of(questions.begin(), questions.end(),
                         [](const auto& question) { return question->done(); });
    };
    REQUIRE(run_until(loop, done));
    CHECK(first.questions == 4);
    CHECK(second.questions == 4);
  }
  SECTION("the first one is silent") {
    questions.push_back(std::make_unique<Resolver::Question>(event));
    questions.push_back(std::make_unique<Resolver::Question>(event));
    resolver.ask(*questions[0], "n0.test");
    resolver.ask(*questions[1], "n1.test");
    REQUIRE(run_until(loop, [&] {
      second.serve();
      return questions[0]->done() && questions[1]->done();
    }));
    CHECK(texts(questions[0]->answer()) == std::set<std::string>{"10.0.0.2"});
    CHECK(texts(questions[1]->answer()) == std::set<std::string>{"10.0.0.2"});
  }
}

TEST_CASE("resolver: the records of a service") {
  Rig rig;
  rig.resolver();
  const auto ask = [&](const std::string& name) {
    Event event(rig.loop);
    Resolver::Question question(event);
    rig.made->ask_service(question, name);
    REQUIRE(run_until(rig.loop, [&] {
      rig.server.serve();
      return question.done();
    }));
    return question.answer();
  };
  rig.server.add_service("_http._tcp.app.test", 10, 5, 8080, "one.test");
  rig.server.add_service("_http._tcp.app.test", 20, 0, 8081, "two.test", 60);
  const Resolution answer = ask("_http._tcp.app.test");
  CHECK(answer.error == 0);
  REQUIRE(answer.records.size() == 2);
  CHECK(answer.records[0].target == "one.test");
  CHECK(answer.records[0].priority == 10);
  CHECK(answer.records[0].weight == 5);
  CHECK(answer.records[0].port == 8080);
  CHECK(answer.records[1].target == "two.test");
  CHECK(answer.lifetime_milliseconds <= 60'000);
  CHECK(answer.lifetime_milliseconds > 50'000);
  // Remembered, and not mixed up with addresses of the same name.
  const int questions = rig.server.questions;
  CHECK(ask("_HTTP._tcp.app.test.").records.size() == 2);
  CHECK(rig.server.questions == questions);
  CHECK(rig.ask("_http._tcp.app.test").error == 3);
  CHECK(ask("_none._tcp.app.test").error == 3);
}

TEST_CASE("resolver: without an address the system's name servers, followed as they change") {
  SystemFile file;
  Loop loop;
  // The file has no ports: these need the right to port 53, and addresses that nobody else has.
  const auto own = [](int last) {
    const int number = static_cast<int>(getpid());
    return "127." + std::to_string(64 + number / 65536 % 128) + "." +
           std::to_string(number / 256 % 256) + "." + std::to_string(number % 128 + 128 * last);
  };
  NameServer first(own(0) + ":53"), second(own(1) + ":53");
  if (!first.is_open() || !second.is_open()) {
    WARN("port 53 is not to be had");
    return;
  }
  first.add("one.test", {v4(10, 0, 0, 1)}, 0);
  second.add("one.test", {v4(10, 0, 0, 2)}, 0);
  file.write("nameserver " + own(0) + "\n");
  Resolver resolver(loop, {"ipv6=off", Resolver::kSystem});
  Event event(loop);
  const auto ask = [&](bool first_serves) {
    Resolver::Question question(event);
    resolver.ask(question, "one.test");
    REQUIRE(run_until(loop, [&] {
      if (first_serves) first.serve();
      second.serve();
      return question.done();
    }));
    return texts(question.answer());
  };
  CHECK(ask(true) == std::set<std::string>{"10.0.0.1"});
  // A question that the servers of before have not answered goes to those of now.
  Resolver::Question waiting(event);
  resolver.ask(waiting, "one.test");
  run_for(loop, 5);
  CHECK_FALSE(waiting.done());
  file.write("# moved\nnameserver " + own(1) + "\n");
  CHECK(ask(false) == std::set<std::string>{"10.0.0.2"});
  CHECK(waiting.done());
  CHECK(first.questions == 1);
}

TEST_CASE("resolver: what the system's file says") {
  CHECK(SystemServers::parse("") == "127.0.0.1:53");
  CHECK(SystemServers::parse("# nameserver 1.1.1.1\nsearch a.test\nnameserver 10.0.0.1\n") ==
        "10.0.0.1:53");
  CHECK(SystemServers::parse("nameserver\t10.0.0.1 \r\n  nameserver ::1\nnameserver x\n"
                             "nameserver 10.0.0.2\nnameserver 10.0.0.3") ==
        "10.0.0.1:53,[::1]:53,10.0.0.2:53");
  CHECK(SystemServers::parse("nameserver fe80::1%eth0\nnameserver") == "127.0.0.1:53");
  SystemFile file;
  SystemServers servers;
  file.write("nameserver 10.0.0.1\n");
  CHECK(servers.changed());
  CHECK(servers.read() == "10.0.0.1:53");
  CHECK_FALSE(servers.changed());
  file.write("nameserver 10.0.0.2\n");
  CHECK(servers.changed());
  CHECK_FALSE(servers.changed());
  CHECK(servers.read() == "10.0.0.2:53");
  file.remove();
  CHECK(servers.changed());
  CHECK_FALSE(servers.changed());
  CHECK(servers.read() == "127.0.0.1:53");
}
