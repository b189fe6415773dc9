#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "confparse/variables.h"

namespace weir::conf {

// nginx's complex value: literal and variable pieces, and captures ($1 … $9) which are variables of
// their own. Built by Compiler::make_template, which reports nginx's errors (`invalid variable
// name`). Evaluated in one pass into growing memory of the source; a template without variables
// evaluates to its own text, and one that is a single variable to that variable's value, without a
// copy.
class Template {
 public:
  Template() = default;
  static Template literal(std::string text);

  bool is_literal() const { return pieces_.empty(); }
  bool empty() const { return pieces_.empty() && literal_.empty(); }
  // The words as written, for dumps and messages.
  const std::string& source() const { return source_; }
  const std::string& literal_text() const { return literal_; }

  std::string_view evaluate(VariableSource& source) const;
  // Appends to a growing buffer.
  void append_to(std::string& out, VariableSource& source) const;

 private:
  friend class TemplateBuilder;
  struct Piece {
    std::string literal;  // used when variable == kNoVariable
    VariableId variable = kNoVariable;
  };
  std::string source_;
  std::string literal_;
  std::vector<Piece> pieces_;
};

}  // namespace weir::conf
