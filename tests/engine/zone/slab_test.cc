#include "engine/zone/slab.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <vector>

using weir::zone::kPageSize;
using weir::zone::kUnit;
using weir::zone::Place;
using weir::zone::Slab;

namespace {

struct Memory {
  explicit Memory(size_t size) : size(size), bytes(new char[size + kPageSize]()) {
    slab.format(100, size);
  }
  char* base() { return bytes.get(); }
  size_t size;
  std::unique_ptr<char[]> bytes;
  Slab slab;
};

}  // namespace

TEST_CASE("slab: a megabyte holds the states that nginx promises") {
  Memory memory(1 << 20);
  size_t count = 0;
  while (memory.slab.allocate(memory.base(), 64)) ++count;
  CHECK(count >= 16000);
  CHECK(memory.slab.free_pages(memory.base()) == 0);
}

TEST_CASE("slab: pieces that are given back are used again, of any size") {
  Memory memory(1 << 20);
  const size_t pages = memory.slab.free_pages(memory.base());
  std::vector<Place> places;
  while (const Place place = memory.slab.allocate(memory.base(), 48)) places.push_back(place);
  CHECK(memory.slab.allocate(memory.base(), 4096) == 0);
  for (size_t i = 0; i < places.size(); i += 2) memory.slab.free(memory.base(), places[i]);
  for (size_t i = 1; i < places.size(); i += 2) memory.slab.free(memory.base(), places[i]);
  CHECK(memory.slab.free_pages(memory.base()) == pages);
  const Place whole = memory.slab.allocate(memory.base(), pages * kPageSize);
  CHECK(whole != 0);
  memory.slab.free(memory.base(), whole);
  CHECK(memory.slab.allocate(memory.base(), pages * kPageSize + 1) == 0);
}

TEST_CASE("slab: pieces never overlap and nothing is lost") {
  Memory memory(600 * 1024 + 40);
  const size_t pages = memory.slab.free_pages(memory.base());
  std::mt19937 random(7);
  struct Piece {
    size_t size;
    unsigned char fill;
  };
  std::map<Place, Piece> pieces;
  const auto intact = [&](Place place, const Piece& piece) {
    const auto* at = reinterpret_cast<unsigned char*>(memory.base()) + size_t{place} * kUnit;
    for (size_t i = 0; i < piece.size; ++i) {
      if (at[i] != piece.fill) return false;
    }
    return true;
  };
  const auto release = [&](std::map<Place, Piece>::iterator at) {
    REQUIRE(intact(at->first, at->second));
    memory.slab.free(memory.base(), at->first);
    pieces.erase(at);
  };
  for (int step = 0; step < 60000; ++step) {
    if (random() % 5 < 3) {
      const size_t size = random() % 20 == 0 ? random() % 30000 : random() % 3000 + 1;
      const Place place = memory.slab.allocate(memory.base(), size);
      if (!place) {
        for (int i = 0; i < 20 && !pieces.empty(); ++i) release(pieces.begin());
        continue;
      }
      REQUIRE(size_t{place} * kUnit >= 100);
      REQUIRE(size_t{place} * kUnit + size <= memory.size);
      REQUIRE(!pieces.contains(place));
      const Piece piece{size, static_cast<unsigned char>(random())};
      std::memset(memory.base() + size_t{place} * kUnit, piece.fill, size);
      pieces.emplace(place, piece);
    } else if (!pieces.empty()) {
      auto at = pieces.lower_bound(static_cast<Place>(random() % (memory.size / kUnit)));
      release(at == pieces.end() ? pieces.begin() : at);
    }
  }
  while (!pieces.empty()) release(pieces.begin());
  CHECK(memory.slab.free_pages(memory.base()) == pages);
}
