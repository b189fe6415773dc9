#pragma once

#include <cstdint>
#include <memory>
#include <typeindex>
#include <vector>

#include "confparse/ref.h"
#include "confparse/schema.h"

namespace weir::conf {

// Type-erased settings struct; the typed one is SettingsOf<T>.
class SettingsBase : public RefCounted {
 public:
  virtual ~SettingsBase() = default;
  virtual SettingsBase* clone() const = 0;
};

template <class T>
class SettingsOf final : public SettingsBase {
 public:
  SettingsOf() = default;
  explicit SettingsOf(const T& other) : value(other) {}
  SettingsOf* clone() const override { return new SettingsOf(value); }
  T value;
};

using SettingsSlot = uint16_t;
SettingsSlot next_settings_slot();

// The slot of a settings struct: dense, given before main() runs, the same for the life of the
// process.
template <class T>
inline const SettingsSlot kSettingsSlot = next_settings_slot();
template <class T>
SettingsSlot settings_slot() {
  return kSettingsSlot<T>;
}

// The settings in force in one block. A child starts with references to its parent's structs and
// copies a struct the first time it writes to it, so a location costs nothing it does not say.
// After compile a Scope is read-only and is walked by the runtime through get<T>().
//
// T is a plain copyable struct, default constructible.
class Scope {
 public:
  Scope(Context context, const Scope* parent);
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope();

  Context context() const { return context_; }
  // Valid while compiling and after: parents live as long as the generation.
  const Scope* parent() const { return parent_; }

  // Shared settings. get() never returns null: a default-made struct stands for what nobody wrote.
  template <class T>
  const T& get() const {
    const SettingsSlot slot = settings_slot<T>();
    if (slot / kChunkSize < chunks_.size()) {
      if (const Chunk* chunk = chunks_[slot / kChunkSize].get()) {
        if (const SettingsBase* settings = chunk->settings[slot % kChunkSize].get()) {
          return static_cast<const SettingsOf<T>*>(settings)->value;
        }
      }
    }
    return default_of<T>();
  }

  // Copies on first write in this scope.
  template <class T>
  T& write() {
    Ref<SettingsBase>& ref = writable(settings_slot<T>());
    if (!ref) {
      ref = Ref<SettingsBase>(new SettingsOf<T>());
    } else if (ref->reference_count() > 1) {
      ref = Ref<SettingsBase>(ref->clone());
    }
    return static_cast<SettingsOf<T>*>(ref.get())->value;
  }

  // True if this scope and `other` share the very same struct: nothing was set here.
  template <class T>
  bool same(const Scope& other) const {
    return &get<T>() == &other.get<T>();
  }

  // Settings that nested locations never inherit. Null when this scope did not set any. With
  // T::kSeenByIf == true, `if` and `limit_except` scopes start with their location's.
  template <class T>
  const T* own() const {
    return static_cast<const T*>(find_own(settings_slot<T>()));
  }
  template <class T>
  T& write_own() {
    const SettingsSlot slot = settings_slot<T>();
    void* found = find_own_here(slot);
    if (!found) {
      const void* inherited = find_own(slot);
      found = inherited ? new T(*static_cast<const T*>(inherited)) : new T();
      add_own(slot, found, [](void* object) { delete static_cast<T*>(object); }, T::kSeenByIf);
    }
    return *static_cast<T*>(found);
  }

  // For Merge::replace_list: true exactly once per scope and directive, at its first use here; the
  // setter then clears the inherited list.
  bool first_use(const Directive& directive);
  // Was the directive used in this very scope?
  bool used(const Directive& directive) const;

 private:
  friend class Compiler;
  struct Own {
    SettingsSlot slot;
    bool seen_by_if;
    bool inherited;
    void* object;
    void (*destroy)(void*);
  };
  template <class T>
  static const T& default_of() {
    static const T value{};
    return value;
  }
  // Slots are grouped so that a location that sets two things copies two groups, not the whole
  // table.
  static constexpr size_t kChunkSize = 8;
  struct Chunk : RefCounted {
    Ref<SettingsBase> settings[kChunkSize];
  };
  // The entry of a slot in a group that only this scope holds.
  Ref<SettingsBase>& writable(SettingsSlot slot);
  const void* find_own(SettingsSlot slot) const;
  void* find_own_here(SettingsSlot slot) const;
  void add_own(SettingsSlot slot, void* object, void (*destroy)(void*), bool seen_by_if);

  Context context_;
  const Scope* parent_;
  std::vector<Ref<Chunk>> chunks_;
  std::vector<Own> own_;
  std::vector<const Directive*> used_;  // released when the compile ends
};

}  // namespace weir::conf
