#include "confparse/template.h"

#include <cstring>

namespace weir::conf {

Template Template::literal(std::string text) {
  Template result;
  result.literal_ = std::move(text);
  return result;
}

namespace {

// Grows on the stack first: most values are short, and the final size is known only at the end.
class Scratch {
 public:
  void append(std::string_view text) {
    if (!spilled_ && length_ + text.size() <= sizeof(local_)) {
      if (!text.empty()) std::memcpy(local_ + length_, text.data(), text.size());
      length_ += text.size();
      return;
    }
    if (!spilled_) {
      overflow_.reserve(2 * (length_ + text.size()));
      overflow_.assign(local_, length_);
      spilled_ = true;
    }
    overflow_.append(text);
  }
  std::string_view text() const {
    return spilled_ ? std::string_view(overflow_) : std::string_view(local_, length_);
  }

 private:
  char local_[1000];
  size_t length_ = 0;
  bool spilled_ = false;
  std::string overflow_;
};

}  // namespace

std::string_view Template::evaluate(VariableSource& source) const {
  if (pieces_.empty()) return literal_;
  if (pieces_.size() == 1) return source.variable(pieces_[0].variable).text;
  Scratch scratch;
  for (const Piece& piece : pieces_) {
    scratch.append(piece.variable == kNoVariable
                       ? std::string_view(literal_).substr(piece.begin, piece.end - piece.begin)
                       : source.variable(piece.variable).text);
  }
  const std::string_view text = scratch.text();
  if (text.empty()) return {};
  char* memory = source.allocate(text.size());
  std::memcpy(memory, text.data(), text.size());
  return {memory, text.size()};
}

void Template::append_to(std::string& out, VariableSource& source) const {
  if (pieces_.empty()) {
    out += literal_;
    return;
  }
  for (const Piece& piece : pieces_) {
    if (piece.variable == kNoVariable) {
      out.append(literal_, piece.begin, piece.end - piece.begin);
    } else {
      out += source.variable(piece.variable).text;
    }
  }
}

bool TemplateBuilder::fail(std::string error, size_t offset) {
  error_ = std::move(error);
  error_offset_ = offset;
  return false;
}

void TemplateBuilder::add_literal(std::string_view text, Template& out) {
  const auto begin = static_cast<uint32_t>(out.literal_.size());
  out.literal_ += text;
  out.pieces_.push_back({begin, static_cast<uint32_t>(out.literal_.size()), kNoVariable});
}

bool TemplateBuilder::build(std::string_view text, Template& out) {
  out = {};
  if (!has_variables(text)) {
    out.literal_ = text;
    return true;
  }
  out.source_ = text;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '$') {
      if (!take_variable(text, at, out)) return false;
      continue;
    }
    const size_t end = std::min(text.find('$', at), text.size());
    add_literal(text.substr(at, end - at), out);
    at = end;
  }
  return true;
}

bool TemplateBuilder::take_variable(std::string_view text, size_t& at, Template& out) {
  const size_t dollar = at++;
  if (at == text.size()) return fail("invalid variable name", dollar);
  if (text[at] >= '1' && text[at] <= '9') {
    // One digit only: "$10" is the first capture and a zero.
    out.pieces_.push_back({0, 0, variables_.use(text.substr(dollar, 2))});
    ++at;
    return true;
  }
  const bool bracket = text[at] == '{';
  if (bracket && ++at == text.size()) return fail("invalid variable name", dollar);
  const size_t begin = at;
  const auto in_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  while (at < text.size() && in_name(text[at])) ++at;
  const std::string_view name = text.substr(begin, at - begin);
  if (bracket) {
    if (at == text.size() || text[at] != '}') {
      return fail("the closing bracket in \"" + std::string(name) + "\" variable is missing",
                  dollar);
    }
    ++at;
  }
  if (name.empty()) return fail("invalid variable name", dollar);
  out.pieces_.push_back({0, 0, variables_.use(name)});
  return true;
}

}  // namespace weir::conf
