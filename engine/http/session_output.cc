// What goes to the client, and the turn at the end of each callback in which all that ends or
// begins does so.

#include <algorithm>
#include <cerrno>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/session.h"
#include "engine/worker.h"

namespace weir::http {

void Session::break_connection(int error) {
  if (broken_) return;
  broken_ = true;
  const bool told = log_tls_failure(state_ == State::idle ? " while waiting for request" : "");
  if (!told && error != 0 && error != ECONNRESET && error != EPIPE) {
    log(Severity::info, "connection broken", error);
  }
  codec_->output().clear();
  for_each_exchange(
      [](Exchange& exchange) { exchange.peer_gone(exchange.input_ended() ? 499 : 400); });
}

void Session::give_up() {
  break_connection(0);
}

void Session::flush() {
  flush_wanted_ = true;
  wake();
}

void Session::wake() {
  if (settling_) {
    again_ = true;
  } else if (multiplexed_) {
    // The answers of many streams come in one round: they leave in one write.
    settle_.schedule_late(worker().loop);
  } else {
    settle_.schedule(worker().loop);
  }
}

void Session::write_some() {
  if (broken_ || write_blocked_ || handed_over_ || !stream_->is_open()) return;
  Chain& output = codec_->output();
  if (output.empty()) {
    flush_wanted_ = false;
    return;
  }
  net::WriteLimits limits;
  bool files = false;
  for (size_t i = 0; i < output.count() && !files; ++i) files = output[i].is_file();
  if (files && exchange_ != nullptr) {
    limits.send_file_chunk = exchange_->settings().sendfile_max_chunk.value;
  }
  net::WriteResult result = stream_->write(output, limits);
  written_ += result.bytes;
  if (result.state == net::WriteResult::State::failed) {
    if (result.error == EIO && exchange_ != nullptr) {
      exchange_->main().log(Severity::alert, "sendfile() reported that file was truncated");
    }
    break_connection(result.error);
    return;
  }
  write_blocked_ = result.state == net::WriteResult::State::would_block;
  flush_wanted_ = !output.empty();
  if (result.bytes > 0) tell_written();
  if (write_blocked_) for_each_exchange([](Exchange& exchange) { exchange.write_stalled(); });
  if (multiplexed_ && state_ == State::idle && output.empty()) codec_->release_memory();
  // A chunk of a file is out: other connections have their turn.
  if (result.state == net::WriteResult::State::limited) settle_.schedule(worker().loop);
}

void Session::on_writable() {
  if (state_ == State::handshake) {
    on_readable();
    return;
  }
  write_blocked_ = false;
  flush_wanted_ = true;
  if (state_ != State::lingering) settle();
}

// --- settling: everything that ends or begins, does so here

void Session::settle_later(void* self) {
  static_cast<Session*>(self)->settle();
}

// False: the session is gone.
bool Session::settle() {
  if (settling_) return true;
  settling_ = true;
  settle_.cancel();
  again_ = true;
  while (again_) {
    again_ = false;
    bool progress = feed_unread();
    tell_end();
    for_each_exchange([](Exchange& exchange) { exchange.settle(); });
    if (flush_wanted_ && !write_blocked_ && !settle_.scheduled()) write_some();
    while (Exchange* exchange = find_over()) {
      if (multiplexed_) {
        end_stream(*exchange);
      } else if (!end_exchange(*exchange)) {
        return false;
      }
      progress = true;
    }
    // With nothing left to feed or to answer there is nothing to look at again.
    again_ = again_ || (progress && (unread_ || has_exchanges()));
  }
  settling_ = false;
  if (multiplexed_ && !handed_over_ && leave_if_over()) {
    if (state_ == State::lingering) return true;
  }
  if (state_ == State::closed || (handed_over_ && !has_exchanges()) ||
      ((broken_ || end_told_) && !has_exchanges() && is_drained())) {
    if (state_ == State::idle && end_told_ && !multiplexed_) log_farewell();
    destroy();
    return false;
  }
  if (wants_input() && stream_->maybe_readable()) stream_->read_later();
  if (flush_wanted_ && !write_blocked_ && !broken_) settle_.schedule(worker().loop);
  return true;
}

bool Session::is_drained() const {
  return broken_ || handed_over_ || codec_->output().empty();
}

Exchange* Session::find_over() {
  if (exchange_ != nullptr && exchange_->over()) return exchange_;
  if (!more_exchanges_) return nullptr;
  for (auto& [stream, exchange] : *more_exchanges_) {
    if (exchange->over()) return exchange;
  }
  return nullptr;
}

}  // namespace weir::http
