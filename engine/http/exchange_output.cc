// The way of a response from its exchange to the codec: rate limits, files,
// back-pressure.

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/session.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

// A full read goes out at once: a write of 64 KB costs more than two of half
// that.
constexpr size_t kWriteFrom = Block::kBlockSize / 2;
// Of a stream whose window is closed, in each send_timeout: about what TCP would let through at
// the least, a segment.
constexpr uint64_t kLeastProgress = 1024;

}  // namespace

uint64_t Exchange::bytes_sent() const {
  if (session_ == nullptr || tunnel_) return final_sent_;
  if (session_->multiplexed()) return session_->codec().stream_bytes(stream_);
  uint64_t written = session_->written();
  return written > written_before_ ? written - written_before_ : 0;
}

uint64_t Exchange::body_bytes_sent() const {
  if (multiplexed()) return given_;  // heads of frames are no body
  uint64_t sent = bytes_sent();
  return sent > head_bytes_sent_ ? sent - head_bytes_sent_ : 0;
}

void Exchange::send_head(const MessageHead& head, bool end) {
  if (gone_ || aborted_ || session_ == nullptr) return;
  if (is_bridged() && send_bridged_head(head, end)) return;
  // No frame of its own for the end of an empty body.
  if (multiplexed() && head.body.bytes == 0 && head.body.kind == BodyLength::Kind::exact &&
      main_->response_.trailers.empty() && !main_->response_.expect_trailers) {
    end = true;
  }
  Codec& codec = session_->codec();
  size_t before = codec.output().bytes();
  codec.send_head(stream_, head, end);
  head_bytes_sent_ = codec.output().bytes() - before;
  head_sent_ = true;
  if (head.upgrade && head.status == 101) {
    response_ended_ = true;
    end_position_ = session_->queued();
    main_->last_sent_ = true;
    session_->flush();
  } else if (end) {
    response_ended_ = true;
    end_position_ = session_->queued();
    session_->flush();
  }
}

void Exchange::send_interim(const MessageHead& head) {
  if (gone_ || aborted_ || head_sent_ || session_ == nullptr) return;
  session_->codec().send_interim(stream_, head);
  session_->flush();
}

void Exchange::write(Chain&& data, bool last, bool flush) {
  if (gone_ || aborted_ || response_ended_ || session_ == nullptr) {
    data.clear();
    return;
  }
  pending_.append(std::move(data));
  pending_last_ = pending_last_ || last;
  push_output();
  size_t waiting = session_->unwritten();
  if (flush || last || waiting >= settings().postpone_output.value) session_->flush();
  if (waiting >= kWriteFrom) session_->write_some();
}

bool Exchange::output_ready() const {
  if (gone_ || aborted_ || session_ == nullptr) return true;
  bool ready = !delay_timer_.armed() && pending_.bytes() + session_->unwritten() < kOutputLimit;
  if (!ready) was_full_ = true;
  return ready;
}

void Exchange::push_output() {
  while (!response_ended_ && push_piece()) {
  }
  if (multiplexed()) watch_window();
}

// A client that does not open its window, or by some bytes only, holds a stream for no longer than
// one that reads nothing.
void Exchange::watch_window() {
  const bool blocked = !pending_.empty() && session_->codec().is_blocked(stream_);
  if (blocked && send_timer_.armed() && given_ - stalled_at_ < kLeastProgress) return;
  if (blocked && !delay_timer_.armed()) {
    send_timer_.cancel();
    write_stalled();
  } else if (session_->unwritten() == 0) {
    send_timer_.cancel();
  }
}

// Gives the codec what may go now; false: nothing (more) may.
bool Exchange::push_piece() {
  if (delay_timer_.armed() || file_job_ != nullptr) return false;
  if (multiplexed() && session_->codec().is_blocked(stream_)) return false;  // until on_window()
  if (pending_.empty()) {
    if (pending_last_) end_output();
    return false;
  }
  Codec& codec = session_->codec();
  uint64_t allowed = rate_allows();
  if (allowed == 0) return false;
  // Frames of a file are read and written many at once.
  bool send_files = settings().sendfile && !multiplexed() && session_->stream().can_send_file();
  bool whole = allowed >= pending_.bytes();
  for (size_t i = 0; whole && !send_files && i < pending_.count(); ++i) {
    whole = !pending_[i].is_file();
  }
  if (whole) {
    size_t size = pending_.bytes();
    bool end = pending_last_ && main_->response_.trailers.empty();
    codec.send_data(stream_, pending_, end);
    count_given(size - pending_.bytes());
    if (!pending_.empty()) return false;  // the peer's window
    pending_.release();
    if (end) {
      response_ended_ = true;
      end_position_ = session_->queued();
      session_->flush();
      return false;
    }
    return true;
  }
  uint64_t limit = kOutputLimit;
  if (pending_.front().is_file() && !send_files) {
    limit = static_cast<uint64_t>(settings().output_buffer_count.value) *
            settings().output_buffer_size.value;
  }
  if (session_->unwritten() >= limit) return false;
  Chain piece;
  if (!take_piece(piece, allowed, send_files)) return false;
  size_t size = piece.bytes();
  codec.send_data(stream_, piece, false);
  count_given(size - piece.bytes());
  if (piece.empty()) return true;
  piece.append(std::move(pending_));
  pending_ = std::move(piece);
  return false;
}

// A read of a file that is under way on another thread. Both sides are the loop's thread's but for
// `data`, which the other fills meanwhile.
struct FileJob {
  Exchange* exchange;  // null: it has ended
  Ref<File> file;
  Ref<Block> block;
  off_t offset = 0;
  size_t wanted = 0;
  net::FileRead result;
  int error = 0;
};

// What is in the page cache already is read here; for what would block, a thread waits (aio
// threads). False: it is under way.
bool Exchange::read_in_thread(const Slice& slice, Ref<Block> block, net::FileRead& read) {
  const size_t wanted = std::min(slice.size(), block->capacity());
  iovec vector{block->data(), wanted};
  const ssize_t have =
      ::preadv2(slice.file()->descriptor(), &vector, 1, slice.offset(), RWF_NOWAIT);
  if (have > 0) {
    const char* data = block->data();
    read.slice = Slice(std::move(block), data, static_cast<size_t>(have));
    return true;
  }
  file_job_ = std::make_shared<FileJob>();
  FileJob& job = *file_job_;
  job.exchange = this;
  job.file = slice.file();
  job.block = std::move(block);
  job.offset = slice.offset();
  job.wanted = wanted;
  worker_.loop.work(
      [&job] {
        job.error =
            net::read_file_at(job.file->descriptor(), job.offset, job.block->data(), job.wanted);
      },
      [shared = file_job_] {
        if (shared->exchange != nullptr) shared->exchange->file_read();
      });
  return false;
}

void Exchange::abandon_file_read() {
  if (file_job_ != nullptr) file_job_->exchange = nullptr;
}

void Exchange::file_read() {
  const std::shared_ptr<FileJob> job = std::exchange(file_job_, nullptr);
  if (gone_ || aborted_ || session_ == nullptr || pending_.empty()) return;
  if (job->error != 0) {
    main_->log(Severity::alert, "pread() failed", job->error);
    terminate(0);
    return;
  }
  const char* data = job->block->data();
  Chain piece;
  piece.push(Slice(std::move(job->block), data, job->wanted));
  pending_.consume(job->wanted);
  session_->codec().send_data(stream_, piece, false);
  count_given(job->wanted - piece.bytes());
  if (!piece.empty()) {
    piece.append(std::move(pending_));
    pending_ = std::move(piece);
  }
  on_window();
  if (session_ != nullptr) session_->flush();
}

// The next slice, or a buffer full of a file that is not sent by the kernel.
bool Exchange::take_piece(Chain& piece, uint64_t allowed, bool send_files) {
  Slice& front = pending_.front();
  auto size = static_cast<size_t>(std::min<uint64_t>(allowed, front.size()));
  if (!front.is_file() || send_files) {
    piece.push(front.sub(0, size));
    pending_.consume(size);
    return true;
  }
  Ref<Block> block = Block::take(std::min<size_t>(size, settings().output_buffer_size.value));
  net::FileRead read;
  if (!settings().aio_threads) {
    read = net::read_file_slice(front.sub(0, size), std::move(block));
  } else if (!read_in_thread(front.sub(0, size), std::move(block), read)) {
    return false;
  }
  if (read.error != 0) {
    main_->log(Severity::alert, "pread() failed", read.error);
    terminate(0);
    return false;
  }
  pending_.consume(read.slice.size());
  piece.push(std::move(read.slice));
  return true;
}

// limit_rate: as many bytes as should have gone by now, with a second's worth
// in advance.
uint64_t Exchange::rate_allows() {
  uint64_t rate = main_->limit_rate();
  if (rate == 0) return UINT64_MAX;
  if (!limit_after_known_) {
    limit_after_known_ = true;
    const conf::Template& after = settings().limit_rate_after;
    if (!after.empty()) {
      limit_after_ = static_cast<uint64_t>(conf::parse_offset(after.evaluate(*main_)).value_or(0));
    }
  }
  int64_t seconds = worker_.loop.wall_milliseconds() / 1000 - started_wall_ / 1000 + 1;
  int64_t allowed = static_cast<int64_t>(rate) * std::max<int64_t>(seconds, 1) -
                    (static_cast<int64_t>(given_) - static_cast<int64_t>(limit_after_));
  if (allowed > 0) return static_cast<uint64_t>(allowed);
  delay_timer_.arm(worker_.loop, static_cast<uint64_t>(-allowed) * 1000 / rate + 1);
  return 0;
}

void Exchange::count_given(size_t bytes) {
  uint64_t before = given_ > limit_after_ ? given_ - limit_after_ : 0;
  given_ += bytes;
  uint64_t rate = main_->limit_rate();
  if (rate == 0) return;
  uint64_t after = given_ > limit_after_ ? given_ - limit_after_ : 0;
  uint64_t delay = (after - before) * 1000 / rate;
  if (delay > 0) delay_timer_.arm(worker_.loop, delay);
}

void Exchange::end_output() {
  Codec& codec = session_->codec();
  if (main_->response_.trailers.empty()) {
    Chain nothing;
    codec.send_data(stream_, nothing, true);
  } else {
    codec.send_trailers(stream_, main_->response_.trailers);
  }
  response_ended_ = true;
  end_position_ = session_->queued();
  session_->flush();
}

// --- what the session tells

void Exchange::on_written() {
  if (session_ == nullptr || gone_) return;
  // The connection moved; that a window opened is told by on_window().
  if (multiplexed() && !session_->codec().is_blocked(stream_)) send_timer_.cancel();
  if (!pending_.empty()) {
    push_output();
    if (session_->unwritten() > 0) session_->flush();
  }
  if (multiplexed()) {
    watch_window();
  } else if (session_->unwritten() == 0) {
    send_timer_.cancel();
  }
  if (was_full_ && output_ready()) {
    was_full_ = false;
    ring_all();
  }
}

void Exchange::on_window() {
  push_output();
  if (session_ != nullptr && !session_->codec().is_blocked(stream_)) send_timer_.cancel();
  if (was_full_ && output_ready()) {
    was_full_ = false;
    ring_all();
  }
}

void Exchange::write_stalled() {
  // Of several streams those wait that have something to send.
  if (multiplexed() && pending_.empty() && !was_full_ && !response_ended_) return;
  if (multiplexed() && send_timer_.armed()) return;
  stalled_at_ = given_;
  send_timer_.arm(worker_.loop, static_cast<uint64_t>(settings().send_timeout.value));
}

void Exchange::send_timed_out(void* self) {
  auto* exchange = static_cast<Exchange*>(self);
  exchange->main_->activity_ = "sending to client";
  exchange->main_->log(Severity::info, "client timed out", ETIMEDOUT);
  exchange->reset_ = exchange->settings().reset_timedout_connection;
  // Of several streams one may have no window, or none of them can be written to.
  const bool stream_only = exchange->multiplexed() && exchange->session_->unwritten() == 0;
  exchange->peer_gone(408);
  if (stream_only) {
    exchange->session_->codec().send_reset(exchange->stream_, kProtocolError);
    exchange->session_->flush();
  } else {
    exchange->session_->give_up();
  }
  exchange->wake();
}

void Exchange::delay_over(void* self) {
  auto* exchange = static_cast<Exchange*>(self);
  if (exchange->discarding_ || exchange->session_ == nullptr) {
    exchange->wake();
    return;
  }
  exchange->push_output();
  if (exchange->was_full_ && exchange->output_ready()) {
    exchange->was_full_ = false;
    exchange->ring_all();
  }
  if (exchange->session_ != nullptr) exchange->session_->flush();
}

}  // namespace weir::http
