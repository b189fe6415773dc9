#pragma once

#include <cstdint>
#include <utility>

namespace weir {

// A count inside the object: for things with several owners on one thread (settings, generations,
// blocks). Not atomic: an object is touched by one thread at a time (see docs/architecture.md).
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) : references_(0) {}
  RefCounted& operator=(const RefCounted&) { return *this; }
  void add_reference() const { ++references_; }
  // True when the last reference went.
  bool drop_reference() const { return --references_ == 0; }
  uint32_t reference_count() const { return references_; }

 protected:
  ~RefCounted() = default;

 private:
  mutable uint32_t references_ = 0;
};

// Owns one reference. T derives from RefCounted and is deleted (virtual destructor where T is a
// base) with its last Ref.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(T* object) : object_(object) {
    if (object_) object_->add_reference();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
    requires std::is_convertible_v<U*, T*>
  Ref(const Ref<U>& other) : Ref(static_cast<T*>(other.get())) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ && object_->drop_reference()) delete object_;
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

template <class T, class... Args>
Ref<T> make_ref(Args&&... args) {
  return Ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace weir
