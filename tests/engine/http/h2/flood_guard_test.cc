#include <catch2/catch.hpp>

#include "engine/http/h2/flood_guard.h"

using weir::http::h2::FloodGuard;
using Kind = FloodGuard::Kind;

namespace {

constexpr size_t kControlFrame = 13;  // WINDOW_UPDATE; a PING has 17

bool opens_windows(FloodGuard& guard, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!guard.take(Kind::window, 1000) || !guard.count(kControlFrame, 0)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("h2: who reads much in small pieces opens windows as often as it has to") {
  FloodGuard guard;
  // 8 GB in a moment: both windows for each 4 KB, and a PING for each frame.
  for (size_t frame = 0; frame < 1024 * 1024; ++frame) {
    guard.sent_data(8192);
    REQUIRE(opens_windows(guard, 4));
    REQUIRE(guard.take(Kind::ping, 1000));
    REQUIRE(guard.count(17, 0));
  }
}

TEST_CASE("h2: a large window may be opened again piece by piece after all of it went") {
  FloodGuard guard;
  constexpr size_t kFrames = 16 * 1024 * 1024 / 16384;
  for (size_t frame = 0; frame < kFrames; ++frame) guard.sent_data(16384);
  CHECK(opens_windows(guard, 8 * kFrames));
}

TEST_CASE("h2: what is sent does not pay for everything") {
  FloodGuard guard;
  guard.sent_data(8192);
  CHECK_FALSE(opens_windows(guard, 2007));
  size_t resets = 0;
  while (guard.take(Kind::reset, 1000)) ++resets;
  CHECK(resets == 200);
}

TEST_CASE("h2: who sees requests through may cancel as many others") {
  FloodGuard guard;
  for (int i = 0; i < 300; ++i) guard.finished_stream();
  size_t resets = 0;
  while (guard.take(Kind::reset, 1000)) ++resets;
  CHECK(resets == 500);
  for (int i = 0; i < 100000; ++i) guard.finished_stream();
  resets = 0;
  while (guard.take(Kind::reset, 1000)) ++resets;
  CHECK(resets == 1000);
}
