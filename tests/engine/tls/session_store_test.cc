#include "engine/tls/session_store.h"

#include <catch2/catch.hpp>

#include "engine/tls/ocsp_cache.h"

using namespace weir;
using namespace weir::tls;

namespace {

zone::Zone make_zone(uint64_t size) {
  zone::ZoneRequest request;
  request.name = "test";
  request.size = size;
  zone::Zone zone(request);
  REQUIRE(zone.attach_private());
  return zone;
}

}  // namespace

TEST_CASE("sessions are found until they are over", "[tls]") {
  const zone::Zone zone = make_zone(64 * 1024);
  session_store::add(zone, "id1", "first", 100);
  session_store::add(zone, "id2", "second", 200);
  CHECK(session_store::find(zone, "id1", 99) == "first");
  CHECK(session_store::find(zone, "id1", 100).empty());
  CHECK(session_store::find(zone, "id1", 99).empty());  // forgotten then
  CHECK(session_store::find(zone, "id2", 100) == "second");
  session_store::add(zone, "id2", "other", 200);
  CHECK(session_store::find(zone, "id2", 100) == "other");
  session_store::remove(zone, "id2");
  CHECK(session_store::find(zone, "id2", 100).empty());
}

TEST_CASE("the oldest session makes room, and one that is too long is not kept", "[tls]") {
  const zone::Zone zone = make_zone(64 * 1024);
  const std::string session(1000, 's');
  for (int i = 0; i < 500; ++i) session_store::add(zone, "id" + std::to_string(i), session, 100);
  CHECK(session_store::find(zone, "id0", 1).empty());
  CHECK(session_store::find(zone, "id499", 1) == session);
  session_store::add(zone, "long", std::string(session_store::kLargestSession + 1, 'x'), 100);
  CHECK(session_store::find(zone, "long", 1).empty());
}

TEST_CASE("answers of responders are remembered", "[tls]") {
  const zone::Zone zone = make_zone(64 * 1024);
  ocsp_cache::add(zone, "key", OcspAnswer::Status::revoked, 100);
  CHECK(ocsp_cache::find(zone, "key", 99) == OcspAnswer::Status::revoked);
  CHECK_FALSE(ocsp_cache::find(zone, "key", 100));
  for (int i = 0; i < 5000; ++i) {
    ocsp_cache::add(zone, "key" + std::to_string(i), OcspAnswer::Status::good, 100);
  }
  CHECK(ocsp_cache::find(zone, "key4999", 1) == OcspAnswer::Status::good);
}
