#include "engine/net/stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "engine/event/loop.h"

namespace weir::net {
namespace {

constexpr size_t kVectors = 64;

}  // namespace

Transfer Layer::send_file(Socket&, int, off_t, size_t) {
  return {Transfer::State::failed, 0, EOPNOTSUPP};
}

void Stream::set_handler(SocketHandler* handler) {
  if (layer_) {
    layer_->set_user(handler);
  } else {
    socket_.set_handler(handler);
  }
}

void Stream::set_layer(std::unique_ptr<Layer> layer, SocketHandler* handler) {
  layer_ = std::move(layer);
  layer_->set_user(handler);
  socket_.set_handler(layer_.get());
}

Transfer Stream::write_memory(const Chain& chain, size_t limit) {
  iovec vectors[kVectors];
  size_t count = chain.vectors(vectors, kVectors);
  size_t bytes = 0;
  size_t used = 0;
  while (used < count && bytes < limit) {
    vectors[used].iov_len = std::min(vectors[used].iov_len, limit - bytes);
    bytes += vectors[used++].iov_len;
  }
  // What follows at once shares a packet with this: the head and the first bytes of a file.
  bool more = bytes < chain.bytes() && bytes < limit;
  if (layer_) return layer_->write(socket_, vectors, used, more);
  return socket_.write(vectors, used, more);
}

Transfer Stream::write_file(const Slice& slice, size_t limit) {
  size_t size = std::min(slice.size(), limit);
  int file = slice.file()->descriptor();
  if (!layer_) return socket_.send_file(file, slice.offset(), size);
  if (layer_->can_send_file()) return layer_->send_file(socket_, file, slice.offset(), size);
  if (!socket_.maybe_writable()) return {Transfer::State::would_block, 0, 0};
  FileRead read = read_file_slice(slice.sub(0, size), Block::take());
  if (read.error != 0) return {Transfer::State::failed, 0, read.error};
  iovec vector{const_cast<char*>(read.slice.data()), read.slice.size()};
  return layer_->write(socket_, &vector, 1, false);
}

WriteResult Stream::write(Chain& chain, const WriteLimits& limits) {
  WriteResult result;
  size_t chunk = limits.send_file_chunk == 0 ? SIZE_MAX : limits.send_file_chunk;
  while (!chain.empty()) {
    size_t limit = limits.bytes - result.bytes;
    bool file = chain.front().is_file();
    if (file) limit = std::min(limit, chunk);
    if (limit == 0) {
      result.state = WriteResult::State::limited;
      return result;
    }
    Transfer transfer = file ? write_file(chain.front(), limit) : write_memory(chain, limit);
    if (transfer.state != Transfer::State::done) {
      bool blocked = transfer.state == Transfer::State::would_block;
      result.state = blocked ? WriteResult::State::would_block : WriteResult::State::failed;
      result.error = transfer.error;
      return result;
    }
    if (file) chunk -= transfer.bytes;
    result.bytes += transfer.bytes;
    chain.consume(transfer.bytes);
  }
  return result;
}

Transfer Stream::shutdown() {
  if (layer_) {
    Transfer transfer = layer_->shutdown(socket_);
    if (transfer.state == Transfer::State::would_block) return transfer;
  }
  socket_.shutdown_write();
  return {};
}

void Stream::close() {
  socket_.close();
  layer_.reset();
}

void Stream::close_with_reset() {
  socket_.close_with_reset();
  layer_.reset();
}

int read_file_at(int descriptor, off_t offset, char* to, size_t size) {
  size_t have = 0;
  while (have < size) {
    ssize_t count = ::pread(descriptor, to + have, size - have, offset + static_cast<off_t>(have));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return EIO;
    have += static_cast<size_t>(count);
  }
  return 0;
}

FileRead read_file_slice(const Slice& slice, Ref<Block> block) {
  size_t wanted = std::min(slice.size(), block->capacity());
  int error = read_file_at(slice.file()->descriptor(), slice.offset(), block->data(), wanted);
  if (error != 0) return {Slice(), error};
  const char* data = block->data();
  return {Slice(std::move(block), data, wanted), 0};
}

}  // namespace weir::net
