#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

#include "engine/base/pooled.h"

namespace weir {

// A coroutine that is started by whoever awaits it (or by Task::start for a root) and whose frame
// is owned by the Task object. Destroying a Task that is suspended destroys its frame and, through
// local destructors, what it waits for.
//
// A child that finishes without suspending is not resumed through a tail call: await_suspend starts
// it and returns false when it has finished, so a million ready children use constant stack.
// Coroutines are named functions, never lambdas with captures. No temporaries of aggregate type
// with non-trivial members inside a co_await expression (g++ 12 destroys them twice).
template <class T>
class [[nodiscard]] Task;

namespace detail {
struct PromiseBase {
  std::coroutine_handle<>
      parent;  // resumed when this finishes, unless it finished inside its start
  void (*told)(void* owner) = nullptr;  // of a root; the same
  void* told_owner = nullptr;
  bool started_inline = false;
  bool finished = false;
  static void* operator new(size_t size) { return allocate_pooled(size); }
  static void operator delete(void* frame, size_t size) { free_pooled(frame, size); }
  std::suspend_always initial_suspend() noexcept { return {}; }
  struct Final {
    bool await_ready() noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> self) noexcept {
      auto& promise = self.promise();
      promise.finished = true;
      if (promise.started_inline) return std::noop_coroutine();
      if (promise.told) promise.told(promise.told_owner);
      if (!promise.parent) return std::noop_coroutine();
      return promise.parent;
    }
    void await_resume() noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { std::terminate(); }
};
template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() { return std::move(*value); }
};
template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void take() {}
};
}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;
  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~Task() { destroy(); }

  explicit operator bool() const { return static_cast<bool>(handle_); }
  bool finished() const { return handle_ && handle_.promise().finished; }
  // Runs a root task until it first suspends or finishes. Called once, from the loop's top level or
  // from plain code; result() after finished().
  void start() { handle_.resume(); }
  // The same; when the task finishes later than here, `told` is called from inside it: not to
  // destroy it there.
  void start(void (*told)(void* owner), void* owner) {
    auto& promise = handle_.promise();
    promise.told = told;
    promise.told_owner = owner;
    promise.started_inline = true;
    handle_.resume();
    promise.started_inline = false;
  }
  T result() { return handle_.promise().take(); }

  // Awaiting: starts the child; continues at once when it finished without suspending.
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) {
    auto& promise = handle_.promise();
    promise.parent = parent;
    promise.started_inline = true;
    handle_.resume();
    promise.started_inline = false;
    return !promise.finished;
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  void destroy() {
    if (handle_) std::exchange(handle_, {}).destroy();
  }
  Handle handle_;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

}  // namespace weir
