#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "engine/event/timer.h"
#include "engine/log/log_table.h"
#include "engine/log/syslog.h"

namespace weir {

class Loop;

// How an access log file is written: `buffer=`, `flush=`, `gzip[=level]`.
struct AccessSinkOptions {
  size_t buffer_size = 0;  // 0: every line at once
  uint64_t flush_milliseconds = 0;
  int gzip_level = 0;  // 0: plain
  auto operator<=>(const AccessSinkOptions&) const = default;
};

// One access log file of one worker: collects lines, writes them with one write(2). Buffered lines
// leave when the next one does not fit, when the flush time is over, before the log is reopened,
// and at the end. With gzip every write is a gzip member of its own, so the file can be read at any
// time. After a failed write lines are dropped until the next second (nginx does so when the disk
// is full); take_error() tells why, at most once a minute.
class AccessSink final : public LogTable::Listener {
 public:
  // `loop` may be null where nothing is flushed by time. All three outlive the sink.
  AccessSink(Loop* loop, LogTable& table, std::string path, AccessSinkOptions options);
  AccessSink(const AccessSink&) = delete;
  AccessSink& operator=(const AccessSink&) = delete;
  ~AccessSink();

  // `line` ends in a line feed.
  void append(std::string_view line);
  void flush();
  const std::string& path() const { return path_; }
  const AccessSinkOptions& options() const { return options_; }
  // The errno of a failed write that has not been reported yet; 0: none.
  int take_error();

  void before_change() override { flush(); }

 private:
  static void flush_time(void* self);
  void write_out(std::string_view bytes);
  std::string compress(std::string_view bytes) const;

  Loop* loop_;
  LogTable& table_;
  std::string path_;
  AccessSinkOptions options_;
  std::string buffer_;
  Timer timer_;
  int64_t failed_second_ = 0;
  int64_t reported_second_ = 0;
  int error_ = 0;
};

// The access logs of one worker, by file and options; they outlive generations.
class AccessSinks {
 public:
  AccessSinks(Loop* loop, LogTable& table) : loop_(loop), table_(table) {}
  // Valid as long as this object.
  AccessSink& find(const std::string& path, const AccessSinkOptions& options);
  SyslogSenders& syslog() { return syslog_; }
  void flush_all();

 private:
  Loop* loop_;
  LogTable& table_;
  std::map<std::pair<std::string, AccessSinkOptions>, std::unique_ptr<AccessSink>> sinks_;
  AccessSink* last_ = nullptr;
  SyslogSenders syslog_;
};

}  // namespace weir
