#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::zone {

// Memory inside a zone, given out in pieces. Lives in the zone itself, so it holds numbers only: a
// piece is named by its place, counted in units of 8 bytes from the start of the zone (0: none).
// Pieces up to half a page come from pages of equal pieces; larger ones are whole pages in a row.
// All calls are made under the zone's lock.
using Place = uint32_t;
inline constexpr size_t kUnit = 8;
inline constexpr size_t kPageSize = 4096;
// What a Place can name.
inline constexpr uint64_t kLargestZone = uint64_t{1} << 35;

class Slab {
 public:
  // Takes `size` bytes at `base` from byte `begin` on; nothing is written but this object: fresh
  // memory stays untouched until it is used.
  void format(size_t begin, size_t size);
  // 0 when there is no room. The piece is not cleared.
  Place allocate(char* base, size_t size);
  // `place` came from allocate() and is in use.
  void free(char* base, Place place);
  size_t free_pages(const char* base) const;

 private:
  struct Page;
  Page& page(char* base, uint32_t index) const;
  uint32_t allocate_pages(char* base, uint32_t count);
  void free_pages(char* base, uint32_t first);
  void mark_free_run(char* base, uint32_t first, uint32_t length);
  Place allocate_chunk(char* base, size_t size_class);
  void link(char* base, uint32_t& head, uint32_t index);
  void unlink(char* base, uint32_t& head, uint32_t index);

  static constexpr size_t kMostClasses = 32;
  uint64_t info_begin_ = 0;  // where the Page records are, in bytes
  uint32_t first_page_ = 0;  // where the pages are, in pages
  uint32_t page_count_ = 0;
  uint32_t fresh_ = 0;                   // from here on no page was ever used
  uint32_t free_runs_ = 0;               // index + 1 of a run of free pages; linked
  uint32_t partial_[kMostClasses] = {};  // index + 1 of a page with room, by class; linked
};

}  // namespace weir::zone
