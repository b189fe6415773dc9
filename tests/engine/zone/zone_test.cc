#include "engine/zone/zone.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <map>
#include <random>
#include <string>

#include "engine/zone/table.h"

using namespace weir;

namespace {

struct Visit : zone::Entry {
  uint64_t count = 0;
};

struct Visits {
  zone::Table<Visit> table;
  uint64_t total = 0;
  void start(zone::Lock& lock) { table.start(lock); }
};

zone::ZoneRequest request(uint64_t size = 64 * 1024) {
  return {"visits", size, "test 1", "$key"};
}

void count_visit(const zone::Zone& zone, std::string_view key) {
  zone::Locked<Visits> visits(zone);
  Visit* visit = visits->table.find(visits, key);
  if (!visit) visit = visits->table.add(visits, key);
  if (visit) ++visit->count;
  ++visits->total;
}

uint64_t visits_of(const zone::Zone& zone, std::string_view key) {
  zone::Locked<Visits> visits(zone);
  const Visit* visit = visits->table.find(visits, key);
  return visit ? visit->count : 0;
}

void reap(pid_t child, int& status) {
  REQUIRE(waitpid(child, &status, 0) == child);
}

}  // namespace

TEST_CASE("zone: two mappings of one descriptor are one memory, a resized file is none") {
  const int descriptor = zone::Mapping::create(request());
  REQUIRE(descriptor >= 0);
  CHECK(ftruncate(descriptor, 4096) != 0);
  CHECK(zone::Mapping::open(descriptor, 32 * 1024) == nullptr);
  zone::Zone one(request()), two(request());
  one.attach(zone::Mapping::open(descriptor, request().size));
  two.attach(zone::Mapping::open(descriptor, request().size));
  close(descriptor);
  REQUIRE(one.mapping());
  REQUIRE(two.mapping());
  count_visit(one, "a");
  count_visit(two, "a");
  CHECK(visits_of(two, "a") == 2);
  CHECK(visits_of(one, "b") == 0);
}

TEST_CASE("zone: what is no zone is not mapped") {
  const int descriptor = memfd_create("weir-test", MFD_CLOEXEC);
  REQUIRE(ftruncate(descriptor, 64 * 1024) == 0);
  CHECK(zone::Mapping::open(descriptor, 64 * 1024) == nullptr);
  close(descriptor);
  CHECK(zone::Mapping::open(-1, 64 * 1024) == nullptr);
}

TEST_CASE("zone: processes count together") {
  zone::Zone zone(request());
  REQUIRE(zone.attach_private());
  constexpr int kEach = 20000;
  pid_t children[3];
  for (pid_t& child : children) {
    child = fork();
    if (child == 0) {
      for (int i = 0; i < kEach; ++i) count_visit(zone, std::to_string(i % 10));
      _exit(0);
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    reap(child, status);
    CHECK(status == 0);
  }
  for (int i = 0; i < 10; ++i) CHECK(visits_of(zone, std::to_string(i)) == 3 * kEach / 10);
}

TEST_CASE("zone: a holder that is killed leaves an emptied zone, and is named") {
  zone::Zone zone(request());
  REQUIRE(zone.attach_private());
  std::string name;
  uint32_t process = 0;
  int told = 0;
  zone.mapping()->on_emptied = [&](std::string_view which, uint32_t dead) {
    name = which;
    process = dead;
    ++told;
  };
  count_visit(zone, "kept");
  uint64_t epoch = 0;
  {
    zone::Locked<Visits> visits(zone);
    epoch = visits.epoch();
  }
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    // A process of its own maps for itself, as workers do.
    zone::Lock lock(zone);
    lock.allocate(100);
    char byte = 1;
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    while (true) pause();
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  kill(child, SIGKILL);
  int status = 0;
  reap(child, status);
  close(ready[0]);
  close(ready[1]);
  CHECK(visits_of(zone, "kept") == 0);
  CHECK(told == 1);
  CHECK(name == "visits");
  CHECK(process != 0);
  {
    zone::Locked<Visits> visits(zone);
    CHECK(visits.epoch() == epoch + 1);
  }
  count_visit(zone, "kept");
  CHECK(visits_of(zone, "kept") == 1);
  CHECK(told == 1);
}

TEST_CASE("zone: who waits for the lock of a killed holder gets it") {
  zone::Zone zone(request());
  REQUIRE(zone.attach_private());
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t holder = fork();
  if (holder == 0) {
    zone::Lock lock(zone);
    char byte = 1;
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    while (true) pause();
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  const pid_t waiting = fork();
  if (waiting == 0) {
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    count_visit(zone, "x");
    _exit(visits_of(zone, "x") == 1 ? 0 : 1);
  }
  REQUIRE(read(ready[0], &byte, 1) == 1);
  kill(holder, SIGKILL);
  int status = 0;
  reap(holder, status);
  reap(waiting, status);
  CHECK(status == 0);
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("zone table: finds, ages and removes as a list would") {
  zone::Zone zone(request(256 * 1024));
  REQUIRE(zone.attach_private());
  std::map<std::string, uint64_t> model;
  std::mt19937 random(3);
  zone::Locked<Visits> visits(zone);
  const size_t pages = visits.free_pages();
  for (int step = 0; step < 30000; ++step) {
    const std::string key = "key" + std::to_string(random() % 700);
    Visit* visit = visits->table.find(visits, key);
    REQUIRE((visit != nullptr) == model.contains(key));
    if (visit && random() % 3 == 0) {
      visits->table.remove(visits, *visit);
      model.erase(key);
    } else if (visit) {
      CHECK(visit->count == model[key]);
      visits->table.touch(visits, *visit);
    } else {
      visit = visits->table.add(visits, key);
      REQUIRE(visit);
      visit->count = model[key] = random();
    }
  }
  CHECK(visits->table.count() == model.size());
  size_t walked = 0;
  for (Visit* at = visits->table.oldest(visits); at; at = visits->table.newer(visits, *at)) {
    ++walked;
  }
  CHECK(walked == model.size());
  while (Visit* oldest = visits->table.oldest(visits)) visits->table.remove(visits, *oldest);
  CHECK(visits.free_pages() == pages);
}

TEST_CASE("zone table: no memory is no entry") {
  zone::Zone zone(request(32 * 1024));
  REQUIRE(zone.attach_private());
  zone::Locked<Visits> visits(zone);
  size_t count = 0;
  while (visits->table.add(visits, "key" + std::to_string(count))) ++count;
  CHECK(count > 300);
  visits->table.remove(visits, *visits->table.oldest(visits));
  CHECK(visits->table.add(visits, "key" + std::to_string(count)));
}

TEST_CASE("zone: the keyed hash is SipHash-1-3") {
  // First values of the reference vectors for key 00 01 … 0f.
  const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  CHECK(zone::keyed_hash(key, "") == 0xabac0158050fc4dc);
}
