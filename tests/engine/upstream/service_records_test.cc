#include "engine/upstream/service_records.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace weir::upstream;

namespace {

std::string number(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  return text;
}

const std::string kQuestion = std::string("\4_sip\4_tcp\1a\0", 13) + number(33, 2) + number(1, 2);
const std::string kTarget("\3one\1a\0", 7);

std::string message(size_t answers, const std::string& records, size_t questions = 1) {
  return number(7, 2) + number(0x8180, 2) + number(questions, 2) + number(answers, 2) +
         number(0, 4) + kQuestion + records;
}
std::string record(const std::string& data, uint64_t type = 33, uint64_t ttl = 60,
                   uint64_t kind = 1) {
  return "\xc0\x0c" + number(type, 2) + number(kind, 2) + number(ttl, 4) + number(data.size(), 2) +
         data;
}
std::string service(uint64_t priority, uint64_t weight, uint64_t port) {
  return number(priority, 2) + number(weight, 2) + number(port, 2) + kTarget;
}
ServiceAnswer parse(const std::string& text) {
  // Of exactly this size, so that sanitizers see a byte too many.
  const std::vector<unsigned char> bytes(text.begin(), text.end());
  return parse_service_answer(bytes.data(), bytes.size());
}

}  // namespace

TEST_CASE("service records: what they say") {
  const ServiceAnswer answer =
      parse(message(2, record(service(1, 2, 3)) + record(service(4, 5, 6))));
  REQUIRE(answer.ok);
  REQUIRE(answer.records.size() == 2);
  CHECK(answer.records[0].target == "one.a");
  CHECK(answer.records[0].priority == 1);
  CHECK(answer.records[0].weight == 2);
  CHECK(answer.records[0].port == 3);
  CHECK(answer.records[1].port == 6);
  CHECK(answer.lifetime_seconds == 60);
}

TEST_CASE("service records: the shortest life counts, and that of an alias") {
  CHECK(parse(message(2, record(service(1, 2, 3), 33, 9) + record(service(1, 2, 3), 33, 8)))
            .lifetime_seconds == 8);
  CHECK(parse(message(2, record(kTarget, 5, 3) + record(service(1, 2, 3)))).lifetime_seconds == 3);
  // RFC 2181 section 8.
  CHECK(parse(message(1, record(service(1, 2, 3), 33, 0x80000000))).lifetime_seconds == 0);
}

TEST_CASE("service records: others are passed over") {
  const ServiceAnswer answer = parse(message(
      3, record("\1\2\3\4", 1, 1) + record(service(1, 2, 3), 33, 1, 3) + record(service(1, 2, 3))));
  CHECK(answer.ok);
  CHECK(answer.records.size() == 1);
  CHECK(answer.lifetime_seconds == 60);
}

TEST_CASE("service records: as many as are needed") {
  std::string records;
  for (int i = 0; i < 100; ++i) records += record(service(1, 2, 3));
  const ServiceAnswer answer = parse(message(100, records));
  CHECK(answer.ok);
  CHECK(answer.records.size() == kMostServiceRecords);
}

TEST_CASE("service records: what is broken") {
  const std::string good = message(1, record(service(1, 2, 3)));
  REQUIRE(parse(good).ok);
  for (size_t size = 0; size < good.size(); ++size) CHECK_FALSE(parse(good.substr(0, size)).ok);
  CHECK_FALSE(parse(message(2, record(service(1, 2, 3)))).ok);
  CHECK_FALSE(parse(message(1, record(service(1, 2, 3)), 2)).ok);
  CHECK_FALSE(parse(message(1, record(number(0, 6)))).ok);
  // A target that goes on behind its record, one that points at itself.
  std::string running = record(service(1, 2, 3).substr(0, 9));
  running += kTarget.substr(3);
  CHECK_FALSE(parse(message(1, running)).ok);
  const size_t at = message(1, "").size() + 12 + 6;
  CHECK_FALSE(parse(message(1, record(number(1, 6) + "\xc0" + number(at, 1)))).ok);
}
