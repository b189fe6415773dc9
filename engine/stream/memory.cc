#include "engine/stream/memory.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "engine/base/pooled.h"

namespace weir::stream {
namespace {

constexpr size_t kFirstPiece = 256;
constexpr size_t kLargestPiece = 2048;

}  // namespace

char* Memory::allocate(size_t size, size_t alignment) {
  auto at = (reinterpret_cast<uintptr_t>(next_) + alignment - 1) & ~(alignment - 1);
  if (!next_ || at + size > reinterpret_cast<uintptr_t>(end_)) {
    size_t wanted = pieces_ ? std::min(pieces_->size * 2, kLargestPiece) : kFirstPiece;
    wanted = std::max(wanted, sizeof(Piece) + size + alignment);
    auto* piece = new (allocate_pooled(wanted)) Piece{pieces_, wanted};
    pieces_ = piece;
    next_ = reinterpret_cast<char*>(piece + 1);
    end_ = reinterpret_cast<char*>(piece) + wanted;
    at = (reinterpret_cast<uintptr_t>(next_) + alignment - 1) & ~(alignment - 1);
  }
  next_ = reinterpret_cast<char*>(at + size);
  return reinterpret_cast<char*>(at);
}

std::string_view Memory::copy(std::string_view text) {
  char* to = allocate(text.size(), 1);
  if (!text.empty()) std::memcpy(to, text.data(), text.size());
  return {to, text.size()};
}

void* Memory::keep(const void* key, void* object, void (*destroy)(void*)) {
  kept_ = new (allocate(sizeof(Kept), alignof(Kept))) Kept{key, object, destroy, kept_};
  return object;
}

void* Memory::find(const void* key) const {
  for (const Kept* kept = kept_; kept; kept = kept->next) {
    if (kept->key == key) return kept->object;
  }
  return nullptr;
}

void Memory::reset() {
  while (kept_) {
    Kept* kept = kept_;
    kept_ = kept->next;
    kept->destroy(kept->object);
  }
  while (pieces_) {
    Piece* piece = pieces_;
    pieces_ = piece->next;
    free_pooled(piece, piece->size);
  }
  next_ = end_ = nullptr;
}

}  // namespace weir::stream
