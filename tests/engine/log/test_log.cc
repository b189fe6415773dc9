#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "confparse/worlds.h"
#include "engine/event/loop.h"
#include "engine/log/access_sink.h"
#include "engine/log/clock.h"
#include "engine/log/error_log.h"
#include "engine/log/log_table.h"
#include "engine/log/syslog.h"
#include "engine/net/address.h"

using namespace weir;

namespace {

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/weir-log-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() {
    const std::string command = "rm -rf " + path_;
    [[maybe_unused]] const int result = std::system(command.c_str());
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// All gzip members of a file, unpacked.
std::string unpacked(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  std::string text;
  char buffer[4096];
  int got = 0;
  while ((got = gzread(file, buffer, sizeof buffer)) > 0) text.append(buffer, buffer + got);
  gzclose(file);
  return text;
}

}  // namespace

TEST_CASE("clock texts are nginx's", "[log][clock]") {
  setenv("TZ", "UTC", 1);
  tzset();
  constexpr int64_t kTime = 1795264757123;  // 2026-11-21 12:39:17 UTC
  CHECK(clock_text::error_log(kTime) == "2026/11/21 12:39:17");
  CHECK(clock_text::local(kTime) == "21/Nov/2026:12:39:17 +0000");
  CHECK(clock_text::iso8601(kTime) == "2026-11-21T12:39:17+00:00");
  CHECK(clock_text::http_date(kTime) == "Sat, 21 Nov 2026 12:39:17 GMT");
  CHECK(clock_text::syslog(kTime) == "Nov 21 12:39:17");
  // A new second, then the old one again: the cache follows.
  CHECK(clock_text::error_log(kTime + 1000) == "2026/11/21 12:39:18");
  CHECK(clock_text::error_log(kTime) == "2026/11/21 12:39:17");
}

TEST_CASE("a table opens files once and reopens them by name", "[log]") {
  const Folder folder;
  LogTable table;
  const std::string path = folder / "a.log";
  REQUIRE(table.open(path) == 0);
  const int first = table.descriptor(path);
  REQUIRE(table.open(path) == 0);
  CHECK(table.descriptor(path) == first);
  CHECK(table.descriptor("stderr") == 2);
  CHECK(table.descriptor("other") == -1);
  CHECK(table.open(folder / "no/such/folder.log") == ENOENT);

  REQUIRE(rename(path.c_str(), (folder / "a.old").c_str()) == 0);
  REQUIRE(table.reopen_all() == 0);
  REQUIRE(write(table.descriptor(path), "new\n", 4) == 4);
  CHECK(content(path) == "new\n");
  CHECK(content(folder / "a.old").empty());
}

TEST_CASE("an error line has nginx's form", "[log]") {
  const Folder folder;
  LogTable table;
  const std::string path = folder / "e.log";
  REQUIRE(table.open(path) == 0);
  ErrorLog log(table);
  ErrorLogTarget target;
  target.name = path;
  target.level = Severity::warn;
  const ErrorLogTargets targets{target};

  log.write(targets, Severity::error, 7, "connect() failed", ECONNREFUSED);
  log.write(targets, Severity::notice, 0, "not wanted");
  log.write(targets, Severity::warn, 0, "without a connection");
  const std::string text = content(path);
  const std::string who = std::to_string(getpid()) + "#" + std::to_string(gettid());
  CHECK(text.find(" [error] " + who + ": *7 connect() failed (111: Connection refused)\n") !=
        std::string::npos);
  CHECK(text.find(" [warn] " + who + ": without a connection\n") != std::string::npos);
  CHECK(text.find("not wanted") == std::string::npos);
  CHECK(ErrorLog::wants(targets, Severity::crit));
  CHECK_FALSE(ErrorLog::wants(targets, Severity::notice));
}

TEST_CASE("long error lines are cut", "[log]") {
  const std::string line = ErrorLog::line(Severity::error, 0, std::string(5000, 'x'));
  CHECK(line.size() == ErrorLog::kLongestLine - 1);
}

TEST_CASE("syslog parameters", "[log][syslog]") {
  conf::VirtualWorld world;
  std::string problem;
  const auto good = parse_syslog(
      "server=127.0.0.1:1514,facility=local3,severity=debug,tag=my_tag,nohostname", world, problem);
  REQUIRE(good);
  CHECK(net::Address::from_bytes(good->address).text() == "127.0.0.1:1514");
  CHECK(good->facility == 19);
  CHECK(good->severity == 7);
  CHECK(good->tag == "my_tag");
  CHECK(good->no_host_name);
  CHECK(syslog_message(*good, 3, "host", 1795264757123, "text").substr(0, 5) == "<155>");

  const std::pair<const char*, const char*> bad[] = {
      {"", "unknown syslog parameter \"\""},
      {"facility=user", "no syslog server specified"},
      {"server=1.1.1.1,server=2.2.2.2", "duplicate syslog \"server\""},
      {"server=1.1.1.1,facility=foo", "unknown syslog facility \"foo\""},
      {"server=1.1.1.1,severity=foo", "unknown syslog severity \"foo\""},
      {"server=1.1.1.1,tag=f-o",
       "syslog \"tag\" only allows alphanumeric characters and underscore"},
      {"server=1.1.1.1,tag=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "syslog tag length exceeds 32"},
      {"server=1.1.1.1,x=1", "unknown syslog parameter \"x=1\""},
      {"server=", "no host in syslog server \"\""},
  };
  for (const auto& [text, expected] : bad) {
    CHECK_FALSE(parse_syslog(text, world, problem));
    CHECK(problem == expected);
  }
}

TEST_CASE("syslog lines arrive as datagrams", "[log][syslog]") {
  const int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  net::Address address = *net::Address::parse("127.0.0.1:0");
  REQUIRE(bind(server, address.data(), address.size()) == 0);
  SyslogOptions options;
  options.address = std::string(net::Address::local_of(server).bytes());
  options.no_host_name = true;
  SyslogSenders senders;
  REQUIRE(senders.send(options, 6, "hello") == 0);
  char buffer[256];
  const ssize_t got = recv(server, buffer, sizeof buffer, 0);
  const std::string text(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  CHECK(text.starts_with("<190>"));
  CHECK(text.ends_with(" nginx: hello"));
  close(server);
}

TEST_CASE("an access log collects lines up to its buffer", "[log][access]") {
  const Folder folder;
  const std::string path = folder / "access.log";
  LogTable table;
  REQUIRE(table.open(path) == 0);
  AccessSinks sinks(nullptr, table);
  AccessSink& sink = sinks.find(path, {.buffer_size = 10});
  CHECK(&sink == &sinks.find(path, {.buffer_size = 10}));
  sink.append("one\n");
  sink.append("two\n");
  CHECK(content(path).empty());
  sink.append("three\n");
  CHECK(content(path) == "one\ntwo\n");
  sink.append("longer than the buffer\n");
  CHECK(content(path) == "one\ntwo\nthree\nlonger than the buffer\n");
  // Reopening writes what is held to the file it was meant for.
  sink.append("last\n");
  REQUIRE(rename(path.c_str(), (folder / "old.log").c_str()) == 0);
  REQUIRE(table.reopen_all() == 0);
  CHECK(content(folder / "old.log").ends_with("last\n"));
  sink.append("new\n");
  sinks.flush_all();
  CHECK(content(path) == "new\n");
}

TEST_CASE("a packed access log can be read member by member", "[log][access]") {
  const Folder folder;
  const std::string path = folder / "access.log.gz";
  LogTable table;
  REQUIRE(table.open(path) == 0);
  std::string expected;
  {
    AccessSinks sinks(nullptr, table);
    AccessSink& sink = sinks.find(path, {.buffer_size = 1000, .gzip_level = 1});
    for (int i = 0; i < 500; ++i) {
      const std::string line = "line " + std::to_string(i) + "\n";
      sink.append(line);
      expected += line;
    }
  }
  CHECK(unpacked(path) == expected);
}

TEST_CASE("an access log leaves by its flush time", "[log][access]") {
  const Folder folder;
  const std::string path = folder / "access.log";
  LogTable table;
  REQUIRE(table.open(path) == 0);
  Loop loop;
  AccessSinks sinks(&loop, table);
  sinks.find(path, {.buffer_size = 1000, .flush_milliseconds = 20}).append("line\n");
  CHECK(content(path).empty());
  for (int i = 0; i < 100 && content(path).empty(); ++i) loop.run_once(50);
  CHECK(content(path) == "line\n");
}

TEST_CASE("a failed write is told once", "[log][access]") {
  LogTable table;
  table.put("full", open("/dev/full", O_WRONLY | O_CLOEXEC));
  AccessSinks sinks(nullptr, table);
  AccessSink& sink = sinks.find("full", {});
  sink.append("x\n");
  sink.append("y\n");
  CHECK(sink.take_error() == ENOSPC);
  CHECK(sink.take_error() == 0);
}
