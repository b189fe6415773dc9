#include "confparse/scope.h"

#include <algorithm>
#include <atomic>

namespace weir::conf {

SettingsSlot next_settings_slot() {
  // A configuration may be compiled on another thread than the one that serves.
  static std::atomic<SettingsSlot> next = 0;
  return next++;
}

Scope::Scope(Context context, const Scope* parent) : context_(context), parent_(parent) {
  if (!parent) return;
  chunks_ = parent->chunks_;
  constexpr uint32_t kInsideLocation = kIfInServer | kIfInLocation | kLimitExcept;
  if (!(context & kInsideLocation)) return;
  for (const Own& own : parent->own_) {
    if (own.seen_by_if) own_.push_back({own.slot, true, true, own.object, nullptr});
  }
}

Scope::~Scope() {
  for (const Own& own : own_) {
    if (!own.inherited) own.destroy(own.object);
  }
}

Ref<SettingsBase>& Scope::writable(SettingsSlot slot) {
  const size_t index = slot / kChunkSize;
  if (index >= chunks_.size()) chunks_.resize(index + 1);
  Ref<Chunk>& chunk = chunks_[index];
  if (!chunk) {
    chunk = make_ref<Chunk>();
  } else if (chunk->reference_count() > 1) {
    chunk = Ref<Chunk>(new Chunk(*chunk));
  }
  return chunk->settings[slot % kChunkSize];
}

const void* Scope::find_own(SettingsSlot slot) const {
  for (const Own& own : own_) {
    if (own.slot == slot) return own.object;
  }
  return nullptr;
}

void* Scope::find_own_here(SettingsSlot slot) const {
  for (const Own& own : own_) {
    if (own.slot == slot && !own.inherited) return own.object;
  }
  return nullptr;
}

void Scope::add_own(SettingsSlot slot, void* object, void (*destroy)(void*), bool seen_by_if) {
  for (Own& own : own_) {
    if (own.slot != slot) continue;
    own = {slot, seen_by_if, false, object, destroy};
    return;
  }
  own_.push_back({slot, seen_by_if, false, object, destroy});
}

bool Scope::used(const Directive& directive) const {
  return std::find(used_.begin(), used_.end(), &directive) != used_.end();
}

bool Scope::first_use(const Directive& directive) {
  if (used(directive)) return false;
  used_.push_back(&directive);
  return true;
}

}  // namespace weir::conf
