#pragma once

#include <nghttp2/nghttp2.h>

#include <forward_list>
#include <string>
#include <string_view>
#include <vector>

#include "engine/http/message.h"

namespace weir::http::h2 {

// A field list in nghttp2's form. One per thread: its memory stays. Texts are not copied, but names
// that are not in lower case are, into it.
class FieldWriter {
 public:
  static FieldWriter& of_thread();
  void clear();
  // `name` in lower case, both alive until the list is used.
  void add(std::string_view name, std::string_view value, bool secret = false);
  void add_number(std::string_view name, uint64_t value);
  // Leaves out what belongs to one connection (RFC 9113 section 8.2.2), and Host.
  void add(const Header& header);
  // nghttp2 is to copy the texts: they may be gone when the frame is made.
  void copy_all();
  const nghttp2_nv* data() const { return fields_.data(); }
  size_t size() const { return fields_.size(); }

 private:
  std::string_view lower(std::string_view name);
  std::vector<nghttp2_nv> fields_;
  char* room(size_t size);
  std::string text_;  // reserved once: it never moves
  std::forward_list<std::string> long_texts_;
};

}  // namespace weir::http::h2
