#include "modules/shared/connection_counts.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>
#include <vector>

using namespace weir;
using weir::shared::ConnectionCounts;
using Counted = ConnectionCounts::Counted;

namespace {

struct Rig {
  std::shared_ptr<zone::Zone> zone =
      std::make_shared<zone::Zone>(zone::ZoneRequest{"open", 64 * 1024, "test", ""});
  Rig() { REQUIRE(zone->attach_private()); }
  Counted add(const std::string& key, uint32_t most = 100) {
    zone::Locked<ConnectionCounts> counts(*zone);
    return counts->add(counts, key, most);
  }
  void remove(const Counted& counted) {
    zone::Locked<ConnectionCounts> counts(*zone);
    counts->remove(counts, counted);
  }
  uint32_t count(const std::string& key) {
    zone::Locked<ConnectionCounts> counts(*zone);
    const auto* entry = counts->table.find(counts, key);
    return entry ? entry->connections : 0;
  }
  // Another process counts `keys`, and lives until finish().
  pid_t in_child(const std::vector<std::string>& keys) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    const pid_t child = fork();
    if (child == 0) {
      // A mapping of its own, as a worker has: it knows the process.
      zone::Zone again(zone->request);
      if (!again.attach_private()) _exit(1);
      for (const std::string& key : keys) add(key);
      const char byte = 1;
      if (write(ready[1], &byte, 1) != 1) _exit(1);
      while (true) pause();
    }
    char byte = 0;
    REQUIRE(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    return child;
  }
  void finish(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ConnectionCounts::settle(*zone->mapping());
  }
};

}  // namespace

TEST_CASE("connection counts: up to the limit, and back", "[limit_conn]") {
  Rig rig;
  const Counted one = rig.add("a", 2);
  const Counted two = rig.add("a", 2);
  CHECK(one.outcome == Counted::Outcome::counted);
  CHECK(two.outcome == Counted::Outcome::counted);
  CHECK(rig.add("a", 2).outcome == Counted::Outcome::over);
  CHECK(rig.add("b", 2).outcome == Counted::Outcome::counted);
  rig.remove(one);
  CHECK(rig.count("a") == 1);
  rig.remove(two);
  CHECK(rig.count("a") == 0);
  ConnectionCounts::settle(*rig.zone->mapping());
  CHECK(rig.count("b") == 1);
}

TEST_CASE("connection counts: those of a killed process are taken out", "[limit_conn]") {
  Rig rig;
  // Keys of theirs, of ours, and of both, whoever came first.
  const Counted ours = rig.add("ours first");
  const pid_t child = rig.in_child({"theirs", "theirs", "ours first", "theirs first"});
  const Counted second = rig.add("theirs first");
  CHECK(rig.count("theirs") == 2);
  CHECK(rig.count("ours first") == 2);
  CHECK(rig.count("theirs first") == 2);
  ConnectionCounts::settle(*rig.zone->mapping());
  CHECK(rig.count("theirs") == 2);
  rig.finish(child);
  CHECK(rig.count("theirs") == 0);
  CHECK(rig.count("ours first") == 1);
  CHECK(rig.count("theirs first") == 1);
  rig.remove(ours);
  rig.remove(second);
  zone::Locked<ConnectionCounts> counts(*rig.zone);
  CHECK(counts->table.count() == 0);
  CHECK(counts->tallies.count() == 0);
}

TEST_CASE("connection counts: a key changes its owner", "[limit_conn]") {
  Rig rig;
  const Counted first = rig.add("k");
  const pid_t child = rig.in_child({"k", "k"});
  rig.remove(first);
  CHECK(rig.count("k") == 2);
  const Counted again = rig.add("k");
  CHECK(rig.count("k") == 3);
  rig.finish(child);
  CHECK(rig.count("k") == 1);
  rig.remove(again);
  CHECK(rig.count("k") == 0);
}

TEST_CASE("connection counts: more processes than there is room for still count", "[limit_conn]") {
  Rig rig;
  {
    zone::Locked<ConnectionCounts> counts(*rig.zone);
    for (uint32_t& process : counts->processes) process = 1;
  }
  const Counted nameless = rig.add("k");
  CHECK(nameless.holder == Counted::Holder::nobody);
  CHECK(rig.count("k") == 1);
  rig.remove(nameless);
  CHECK(rig.count("k") == 0);
}

TEST_CASE("connection counts: a megabyte holds what nginx promises", "[limit_conn]") {
  Rig rig;
  rig.zone = std::make_shared<zone::Zone>(zone::ZoneRequest{"open", 1 << 20, "test", ""});
  REQUIRE(rig.zone->attach_private());
  uint32_t address = 0;
  const auto key = [&] { return std::string(reinterpret_cast<const char*>(&address), 4); };
  while (rig.add(key()).outcome == Counted::Outcome::counted) ++address;
  CHECK(address >= 27'000);
}
