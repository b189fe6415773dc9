#include "engine/zone/slab.h"

#include <array>
#include <cstring>

namespace weir::zone {

namespace {

// Sizes of small pieces. A page of each wastes less than one piece.
constexpr uint16_t kClassSizes[] = {8,   16,  24,  32,  40,   48,   56,  64,  80,
                                    96,  112, 128, 160, 192,  224,  256, 320, 384,
                                    448, 512, 640, 816, 1024, 1360, 2048};
constexpr size_t kClassCount = sizeof kClassSizes / sizeof kClassSizes[0];
constexpr size_t kLargestChunk = 2048;

constexpr auto kClassOfUnits = [] {
  std::array<uint8_t, kLargestChunk / kUnit + 1> table{};
  size_t of = 0;
  for (size_t units = 0; units < table.size(); ++units) {
    while (kClassSizes[of] < units * kUnit) ++of;
    table[units] = static_cast<uint8_t>(of);
  }
  return table;
}();

// What a page is, when it is none of equal pieces.
constexpr uint16_t kFreeRun = 0xfff0;
constexpr uint16_t kUsedRun = 0xfff1;
constexpr uint16_t kInside = 0xfff2;

}  // namespace

struct Slab::Page {
  uint32_t next;  // index + 1; of a free run's last page: the run's first index
  uint32_t previous;
  uint16_t kind;  // a class, or one of the above
  uint16_t used;
  union {
    struct {
      uint16_t free_chunk;   // number + 1; the free ones are linked through their first two bytes
      uint16_t fresh_chunk;  // from here on none was ever used
    };
    uint32_t run;  // pages in a run
  };
};

Slab::Page& Slab::page(char* base, uint32_t index) const {
  return reinterpret_cast<Page*>(base + info_begin_)[index];
}

void Slab::format(size_t begin, size_t size) {
  static_assert(kClassCount <= kMostClasses && sizeof(Page) == 16);
  *this = Slab();
  info_begin_ = (begin + kUnit - 1) / kUnit * kUnit;
  const size_t rest = size > info_begin_ ? size - info_begin_ : 0;
  size_t count = rest / (kPageSize + sizeof(Page));
  first_page_ =
      static_cast<uint32_t>((info_begin_ + count * sizeof(Page) + kPageSize - 1) / kPageSize);
  while (count > 0 && (first_page_ + count) * kPageSize > size) --count;
  page_count_ = static_cast<uint32_t>(count);
}

void Slab::link(char* base, uint32_t& head, uint32_t index) {
  Page& added = page(base, index);
  added.previous = 0;
  added.next = head;
  if (head) page(base, head - 1).previous = index + 1;
  head = index + 1;
}

void Slab::unlink(char* base, uint32_t& head, uint32_t index) {
  const Page& gone = page(base, index);
  (gone.previous ? page(base, gone.previous - 1).next : head) = gone.next;
  if (gone.next) page(base, gone.next - 1).previous = gone.previous;
}

// `used` tells a run's first page (1) from its last (0).
void Slab::mark_free_run(char* base, uint32_t first, uint32_t length) {
  Page& head = page(base, first);
  head.kind = kFreeRun;
  head.used = 1;
  head.run = length;
  if (length == 1) return;
  Page& last = page(base, first + length - 1);
  last.kind = kFreeRun;
  last.used = 0;
  last.next = first;
}

// Index of the first of `count` pages, or page_count_.
uint32_t Slab::allocate_pages(char* base, uint32_t count) {
  for (uint32_t at = free_runs_; at; at = page(base, at - 1).next) {
    const uint32_t first = at - 1;
    const uint32_t length = page(base, first).run;
    if (length < count) continue;
    unlink(base, free_runs_, first);
    if (length > count) {
      const uint32_t rest = first + count;
      link(base, free_runs_, rest);
      mark_free_run(base, rest, length - count);
    }
    return first;
  }
  if (page_count_ - fresh_ < count) return page_count_;
  const uint32_t first = fresh_;
  fresh_ += count;
  return first;
}

void Slab::free_pages(char* base, uint32_t first) {
  const Page& freed = page(base, first);
  uint32_t length = freed.kind == kUsedRun ? freed.run : 1;
  // Joined with the free runs on both sides.
  const uint32_t behind = first + length;
  if (behind < fresh_ && page(base, behind).kind == kFreeRun) {
    unlink(base, free_runs_, behind);
    length += page(base, behind).run;
  }
  if (first > 0 && page(base, first - 1).kind == kFreeRun) {
    const uint32_t last = first - 1;
    // A run of one page is its own first; of a longer one the last page names the first.
    const uint32_t before = page(base, last).used == 1 ? last : page(base, last).next;
    unlink(base, free_runs_, before);
    length += page(base, before).run;
    first = before;
  }
  if (first + length == fresh_) {
    fresh_ = first;
    return;
  }
  link(base, free_runs_, first);
  mark_free_run(base, first, length);
}

Place Slab::allocate_chunk(char* base, size_t size_class) {
  const size_t size = kClassSizes[size_class];
  uint32_t& head = partial_[size_class];
  if (!head) {
    const uint32_t added = allocate_pages(base, 1);
    if (added == page_count_) return 0;
    Page& fresh = page(base, added);
    fresh.kind = static_cast<uint16_t>(size_class);
    fresh.used = 0;
    fresh.free_chunk = 0;
    fresh.fresh_chunk = 0;
    link(base, head, added);
  }
  const uint32_t index = head - 1;
  Page& from = page(base, index);
  const size_t page_begin = (size_t{first_page_} + index) * kPageSize;
  uint32_t number = from.fresh_chunk;
  if (from.free_chunk) {
    number = from.free_chunk - 1;
    std::memcpy(&from.free_chunk, base + page_begin + number * size, sizeof from.free_chunk);
  } else {
    ++from.fresh_chunk;
  }
  if (++from.used == kPageSize / size) unlink(base, head, index);
  return static_cast<Place>((page_begin + number * size) / kUnit);
}

Place Slab::allocate(char* base, size_t size) {
  if (size <= kLargestChunk) {
    return allocate_chunk(base, kClassOfUnits[(size + kUnit - 1) / kUnit]);
  }
  const size_t count = (size + kPageSize - 1) / kPageSize;
  if (count > page_count_) return 0;
  const uint32_t first = allocate_pages(base, static_cast<uint32_t>(count));
  if (first == page_count_) return 0;
  // Only the ends of a used run are looked at by its neighbours.
  page(base, first + static_cast<uint32_t>(count) - 1).kind = kInside;
  page(base, first).kind = kUsedRun;
  page(base, first).run = static_cast<uint32_t>(count);
  return static_cast<Place>((size_t{first_page_} + first) * kPageSize / kUnit);
}

void Slab::free(char* base, Place place) {
  const size_t byte = size_t{place} * kUnit;
  const auto index = static_cast<uint32_t>(byte / kPageSize) - first_page_;
  Page& of = page(base, index);
  if (of.kind >= kClassCount) {
    free_pages(base, index);
    return;
  }
  const size_t size = kClassSizes[of.kind];
  const auto number = static_cast<uint16_t>(byte % kPageSize / size);
  std::memcpy(base + byte, &of.free_chunk, sizeof of.free_chunk);
  of.free_chunk = static_cast<uint16_t>(number + 1);
  if (of.used == kPageSize / size) link(base, partial_[of.kind], index);
  if (--of.used > 0) return;
  unlink(base, partial_[of.kind], index);
  free_pages(base, index);
}

size_t Slab::free_pages(const char* base) const {
  size_t count = page_count_ - fresh_;
  for (uint32_t at = free_runs_; at;) {
    const Page& run = page(const_cast<char*>(base), at - 1);
    count += run.run;
    at = run.next;
  }
  return count;
}

}  // namespace weir::zone
