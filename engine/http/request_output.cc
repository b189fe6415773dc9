// How a request's body data reaches the exchange: through its filters, in the order of subrequests.

#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/request.h"
#include "engine/net/stream.h"

namespace weir::http {

void Request::add_body_filter(BodyFilter* filter) {
  filter->next_filter_ = nullptr;
  if (last_filter_ != nullptr) {
    last_filter_->next_filter_ = filter;
  } else {
    first_filter_ = filter;
  }
  last_filter_ = filter;
}

void BodyFilter::forward(Request& request, Chain&& data, bool last, bool flush) const {
  BodyFilter* next = next_filter_;
  if (joins_subrequests()) {
    if (next != nullptr) {
      request.send_through(next, std::move(data), last, flush);
    } else {
      request.exchange_->write(std::move(data), last, flush);
    }
  } else if (next != nullptr && !next->joins_subrequests()) {
    request.send_through(next, std::move(data), last, flush);
  } else {
    request.after_filters(std::move(data), last, flush);
  }
}

void Request::send(Chain&& data, bool last, bool flush) {
  if (response_.header_only || last_sent_) {
    data.clear();
    return;
  }
  if (!response_.head_sent) {
    log(Severity::alert, "body sent before the head");
    data.clear();
    return;
  }
  last_sent_ = last;
  if (first_filter_ != nullptr && !first_filter_->joins_subrequests()) {
    send_through(first_filter_, std::move(data), last, flush);
  } else {
    after_filters(std::move(data), last, flush);
  }
}

void Request::send_through(BodyFilter* filter, Chain&& data, bool last, bool flush) {
  if (filter->needs_bytes()) read_files(data);
  filter->on_data(*this, std::move(data), last, flush);
}

// Reads in place: what needs bytes of files wants them now, and they are usually in the page cache.
void Request::read_files(Chain& data) {
  bool any = false;
  for (size_t i = 0; i < data.count(); ++i) any = any || data[i].is_file();
  if (!any) return;
  Chain bytes;
  while (!data.empty()) {
    if (!data.front().is_file()) {
      bytes.push(data.take_front());
      continue;
    }
    net::FileRead read = net::read_file_slice(data.front(), Block::take());
    if (read.error != 0) {
      data.clear();
      break;
    }
    data.consume(read.slice.size());
    bytes.push(std::move(read.slice));
  }
  data = std::move(bytes);
}

void Request::after_filters(Chain&& data, bool last, bool flush) {
  if (!is_main() && subrequest_output_ != SubrequestOutput::inline_body) {
    if (subrequest_output_ == SubrequestOutput::capture_body) {
      size_t limit = settings<CoreSettings>().subrequest_output_buffer_size.value;
      if (captured_.bytes() + data.bytes() > limit) {
        log(Severity::error,
            "too big subrequest response: " + std::to_string(captured_.bytes() + data.bytes()));
        captured_.clear();
        response_.status = 502;
        subrequest_output_ = SubrequestOutput::discard_body;
      } else {
        captured_.append(std::move(data));
      }
    }
    data = Chain();
    return;
  }
  if (exchange_->writing_ == this && postponed_ == nullptr) {
    output(std::move(data), last, flush);
    return;
  }
  if (postponed_end_ == nullptr || postponed_end_->child != nullptr) {
    auto* item = arena_->make<Postponed>();
    (postponed_end_ == nullptr ? postponed_ : postponed_end_->next) = item;
    postponed_end_ = item;
  }
  postponed_end_->data.append(std::move(data));
  postponed_end_->last |= last;
  postponed_end_->flush |= flush;
}

// In its turn: through those of the main request's filters that see everything, to the exchange.
void Request::output(Chain&& data, bool last, bool flush) {
  last = last && is_main();
  BodyFilter* joined = main_->first_filter_;
  while (joined != nullptr && !joined->joins_subrequests()) joined = joined->next_filter_;
  if (joined != nullptr) {
    main_->send_through(joined, std::move(data), last, flush);
  } else {
    exchange_->write(std::move(data), last, flush);
  }
}

// This request's turn has come: what waits goes out up to a subrequest that has not finished.
void Request::release_postponed() {
  exchange_->writing_ = this;
  while (postponed_ != nullptr) {
    Postponed* item = postponed_;
    if (item->child != nullptr) {
      item->child->release_postponed();
      if (!item->child->finished_) return;  // writing_ is in there
      exchange_->writing_ = this;
    }
    postponed_ = item->next;
    if (postponed_ == nullptr) postponed_end_ = nullptr;
    if (item->child == nullptr) output(std::move(item->data), item->last, item->flush);
  }
}

bool Request::output_ready() const {
  return !is_main() && subrequest_output_ != SubrequestOutput::inline_body
             ? true
             : exchange_->output_ready();
}

Task<bool> Request::wait_output() {
  while (!output_ready()) {
    const Wait waited = co_await event_.wait();
    if (waited == Wait::cancelled) co_return false;
  }
  co_return !exchange_->is_gone();
}

}  // namespace weir::http
