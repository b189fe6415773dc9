#include "engine/event/loop.h"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <system_error>

#include "engine/event/loop_implementation.h"
#include "engine/event/socket.h"
#include "engine/event/watcher.h"

namespace weir {
namespace {

// What an epoll event points to is told by the pointer's lowest bit.
constexpr uint64_t kWatcherTag = 1;
constexpr uint64_t kUvTag = 2;  // alone: libuv's backend

int64_t milliseconds_of(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<int64_t>(time.tv_sec) * 1000 + time.tv_nsec / 1000000;
}

// libuv starts its pool with the first work, and threads inherit what is blocked: signals are for
// the loop's thread, also when that does not want them any more (WorkerProcess::run).
class PoolSignals {
 public:
  PoolSignals() {
    static std::atomic<bool> started = false;
    if (started.exchange(true)) return;
    sigset_t all;
    sigfillset(&all);
    is_set_ = pthread_sigmask(SIG_SETMASK, &all, &before_) == 0;
  }
  ~PoolSignals() {
    if (is_set_) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  PoolSignals(const PoolSignals&) = delete;
  PoolSignals& operator=(const PoolSignals&) = delete;

 private:
  sigset_t before_{};
  bool is_set_ = false;
};

[[noreturn]] void give_up(int error, const char* what) {
  throw std::system_error(error, std::generic_category(), what);
}

}  // namespace

Loop::Implementation::Implementation(Loop& loop)
    : owner(loop), wheel(static_cast<uint64_t>(milliseconds_of(CLOCK_MONOTONIC))), folds(loop) {
  // sendfile(2) and TLS libraries have no MSG_NOSIGNAL.
  ::signal(SIGPIPE, SIG_IGN);
  read_clock();
  if (int error = uv_loop_init(&uv); error != 0) give_up(-error, "uv_loop_init");
  // This handle also keeps the uv loop alive, so that its timeout means what it says.
  uv_async_init(&uv, &wake, [](uv_async_t* handle) {
    auto* self = static_cast<Implementation*>(handle->data);
    std::lock_guard lock(self->mutex);
    for (auto& function : self->from_threads) self->posted.push_back(std::move(function));
    self->from_threads.clear();
  });
  wake.data = this;
  epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) give_up(errno, "epoll_create1");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kUvTag;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, uv_backend_fd(&uv), &event) != 0)
    give_up(errno, "epoll_ctl");
}

Loop::Implementation::~Implementation() {
  closing = true;
  uv_walk(
      &uv,
      [](uv_handle_t* handle, void*) {
        if (!uv_is_closing(handle)) uv_close(handle, nullptr);
      },
      nullptr);
  uv_run(&uv, UV_RUN_DEFAULT);  // also waits for work under way
  uv_loop_close(&uv);
  ::close(epoll);
  epoll = -1;
}

void Loop::Implementation::read_clock() {
  auto now = static_cast<uint64_t>(milliseconds_of(CLOCK_MONOTONIC));
  if (wall_read == 0 || now >= wall_read + kWallRefresh) {
    wall_offset = milliseconds_of(CLOCK_REALTIME) - static_cast<int64_t>(now);
    wall_read = now;
  }
  owner.now_ = now;
  owner.wall_ = static_cast<int64_t>(now) + wall_offset;
}

bool Loop::Implementation::run_ready() {
  for (int pass = 0; pass < kReadyPasses; ++pass) {
    if (deferred.empty() && handles.empty() && posted.empty()) return false;
    if (!deferred.empty()) {
      DeferredQueue turn;
      turn.take(deferred);
      while (!turn.empty()) turn.run_first();
    }
    if (!handles.empty()) {
      std::vector<std::coroutine_handle<>> turn;
      turn.swap(handles);
      for (auto handle : turn) handle.resume();
      if (handles.empty()) {
        turn.clear();
        turn.swap(handles);  // keeps its memory
      }
    }
    if (!posted.empty()) {
      std::vector<std::function<void()>> turn;
      turn.swap(posted);
      for (auto& function : turn) function();
    }
  }
  return !deferred.empty() || !handles.empty() || !posted.empty();
}

bool Loop::Implementation::run_late() {
  if (late.empty()) return false;
  DeferredQueue turn;
  turn.take(late);
  while (!turn.empty()) turn.run_first();
  return run_ready();
}

void Loop::Implementation::run_uv() {
  uv_ready = false;
  uv_run(&uv, UV_RUN_NOWAIT);
}

int Loop::Implementation::wait_time(int64_t limit) {
  if (stopped || !later.empty() || !late.empty()) return 0;
  int64_t wait = limit;
  auto at_most = [&wait](int64_t milliseconds) {
    if (wait < 0 || milliseconds < wait) wait = milliseconds;
  };
  uint64_t due = wheel.next_due();
  if (due != TimerWheel::kNever) {
    at_most(due > owner.now_ ? static_cast<int64_t>(due - owner.now_) : 0);
  }
  int uv_timeout = uv_backend_timeout(&uv);
  if (uv_timeout > 0) {
    uv_update_time(&uv);  // its clock stands still while it does not run
    uv_timeout = uv_backend_timeout(&uv);
  }
  if (uv_timeout >= 0) at_most(uv_timeout);
  if (uv_timeout == 0) uv_ready = true;
  return static_cast<int>(std::min<int64_t>(wait, INT32_MAX));
}

void Loop::Implementation::round(int64_t limit) {
  assert(!running);
  running = true;
  // A single round (limit >= 0) that has found something to do does not wait for more.
  bool busy = !deferred.empty() || !handles.empty() || !posted.empty() || !late.empty();
  bool left = run_ready();
  left = run_late() || left;
  // New handles and requests are taken up by uv before anybody sleeps.
  if (uv_backend_timeout(&uv) == 0) {
    run_uv();
    left = run_ready() || left;
    left = run_late() || left;
    busy = true;
  }
  int wait = left || (busy && limit >= 0) ? 0 : wait_time(limit);
  int count = ::epoll_wait(epoll, batch, kBatch, wait);
  if (count < 0) count = 0;  // EINTR: libuv's own pipe has the signal
  read_clock();
  later_turn.swap(later);  // what asks from now on is served in the next round
  for (int i = 0; i < count; ++i) {
    uint64_t what = batch[i].data.u64;
    auto place = static_cast<uint32_t>(i + 1);
    if (what == kUvTag) {
      uv_ready = true;
      batch[i].data.u64 = 0;
    } else if ((what & kWatcherTag) != 0) {
      reinterpret_cast<Watcher*>(what & ~kWatcherTag)->place_ = place;
    } else {
      reinterpret_cast<Socket*>(what)->place_ = place;
    }
  }
  for (int i = 0; i < count; ++i) {
    if (batch[i].data.u64 == 0) continue;
    dispatch(static_cast<size_t>(i));
    run_ready();
  }
  run_later();
  if (uv_ready) {
    run_uv();
    run_ready();
  }
  wheel.advance(owner.now_);
  run_ready();
  run_late();
  running = false;
}

void Loop::Implementation::dispatch(size_t index) {
  uint64_t what = batch[index].data.u64;
  uint32_t events = batch[index].events;
  if ((what & kWatcherTag) != 0) {
    auto* watcher = reinterpret_cast<Watcher*>(what & ~kWatcherTag);
    watcher->place_ = 0;
    watcher->ready_(watcher->owner_, events);
    return;
  }
  dispatch_socket(index, *reinterpret_cast<Socket*>(what), events);
}

// The socket's place in the batch is kept while its handlers run: when it is gone after the first,
// its entry has been cleared.
void Loop::Implementation::dispatch_socket(size_t index, Socket& socket, uint32_t events) {
  bool hung_up = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  bool tell_readable = false;
  if ((events & EPOLLIN) != 0 || hung_up) {
    if (hung_up) socket.peer_closed_ = true;
    socket.readable_ = true;
    tell_readable = !socket.queued_;  // else its turn comes in this round anyway
  }
  bool tell_writable = false;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 && !socket.writable_) {
    socket.writable_ = true;
    tell_writable = true;
  }
  if (socket.connecting_) {
    tell_readable = tell_readable && tell_writable;
    if (tell_writable) {
      socket.connecting_ = false;
      socket.maybe_failed_ = (events & (EPOLLHUP | EPOLLERR)) != 0;
      socket.handler_->on_writable();
      if (batch[index].data.u64 == 0) return;
      tell_writable = false;
    }
  }
  if (tell_readable && socket.readable_ && socket.descriptor_ >= 0) {
    socket.handler_->on_readable();
    if (batch[index].data.u64 == 0) return;
  }
  if (tell_writable && socket.writable_) {
    socket.handler_->on_writable();
    if (batch[index].data.u64 == 0) return;
  }
  socket.place_ = 0;
}

void Loop::Implementation::run_later() {
  for (size_t i = 0; i < later_turn.size(); ++i) {
    Socket* socket = later_turn[i];
    if (socket == nullptr) continue;
    socket->queued_ = false;
    later_turn[i] = nullptr;
    if (socket->readable_) socket->handler_->on_readable();
    run_ready();
  }
  later_turn.clear();
}

void Loop::Implementation::forget_later(Socket* socket) {
  std::replace(later_turn.begin(), later_turn.end(), socket, static_cast<Socket*>(nullptr));
  later.erase(std::remove(later.begin(), later.end(), socket), later.end());
}

Loop::Loop() : implementation_(std::make_unique<Implementation>(*this)) {}

Loop::~Loop() = default;

void Loop::run() {
  while (!implementation_->stopped) implementation_->round(-1);
  implementation_->stopped = false;
}

void Loop::run_once(uint64_t milliseconds) {
  implementation_->round(static_cast<int64_t>(std::min<uint64_t>(milliseconds, INT32_MAX)));
  implementation_->stopped = false;
}

void Loop::stop() {
  implementation_->stopped = true;
}

void Loop::update_clock() {
  implementation_->read_clock();
}

void Loop::schedule(std::coroutine_handle<> handle) {
  implementation_->handles.push_back(handle);
}

void Loop::post(std::function<void()> function) {
  implementation_->posted.push_back(std::move(function));
}

void Loop::post_from_thread(std::function<void()> function) {
  {
    std::lock_guard lock(implementation_->mutex);
    implementation_->from_threads.push_back(std::move(function));
  }
  uv_async_send(&implementation_->wake);
}

void Loop::work(std::function<void()> blocking, std::function<void()> done) {
  auto* work =
      new Implementation::Work{{}, implementation_.get(), std::move(blocking), std::move(done)};
  work->request.data = work;
  const PoolSignals blocked;
  uv_queue_work(
      &implementation_->uv, &work->request,
      [](uv_work_t* request) { static_cast<Implementation::Work*>(request->data)->blocking(); },
      [](uv_work_t* request, int) {
        std::unique_ptr<Implementation::Work> work(
            static_cast<Implementation::Work*>(request->data));
        if (!work->loop->closing && work->done) work->done();
      });
}

void Loop::on_signal(int number, std::function<void()> handler) {
  auto& signals = implementation_->signals;
  auto found = std::find_if(signals.begin(), signals.end(),
                            [number](const auto& signal) { return signal->number == number; });
  if (found == signals.end()) {
    if (!handler) return;
    auto signal = std::make_unique<Implementation::Signal>();
    signal->number = number;
    uv_signal_init(&implementation_->uv, &signal->handle);
    signal->handle.data = signal.get();
    signals.push_back(std::move(signal));
    found = signals.end() - 1;
  }
  Implementation::Signal& signal = **found;
  signal.handler = std::make_shared<std::function<void()>>(std::move(handler));
  if (!*signal.handler) {
    uv_signal_stop(&signal.handle);
    return;
  }
  uv_signal_start(
      &signal.handle,
      [](uv_signal_t* handle, int) {
        auto handler = static_cast<Implementation::Signal*>(handle->data)->handler;
        if (*handler) (*handler)();  // held: it may replace itself
      },
      number);
}

void Timer::arm(Loop& loop, uint64_t milliseconds) {
  loop.implementation_->wheel.arm(*this, loop.now_, milliseconds);
}

void Deferred::schedule(Loop& loop) {
  loop.implementation_->deferred.push(*this);
}

void Deferred::schedule_first(Loop& loop) {
  loop.implementation_->deferred.push_first(*this);
}

void Deferred::schedule_late(Loop& loop) {
  loop.implementation_->late.push(*this);
}

int Watcher::open(Loop& loop, int descriptor, uint32_t events) {
  close();
  epoll_event event{};
  event.events = events;
  event.data.u64 = reinterpret_cast<uint64_t>(this) | kWatcherTag;
  if (::epoll_ctl(loop.implementation_->epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
    return errno;
  loop_ = &loop;
  descriptor_ = descriptor;
  return 0;
}

int Watcher::change(uint32_t events) {
  if (descriptor_ < 0) return EBADF;
  epoll_event event{};
  event.events = events;
  event.data.u64 = reinterpret_cast<uint64_t>(this) | kWatcherTag;
  int status = ::epoll_ctl(loop_->implementation_->epoll, EPOLL_CTL_MOD, descriptor_, &event);
  return status == 0 ? 0 : errno;
}

void Watcher::close() {
  if (descriptor_ < 0) return;
  ::epoll_ctl(loop_->implementation_->epoll, EPOLL_CTL_DEL, descriptor_, nullptr);
  if (place_ != 0) loop_->implementation_->forget(place_);
  place_ = 0;
  descriptor_ = -1;
}

}  // namespace weir
