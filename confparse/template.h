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
  const std::string& source() const { return is_literal() ? literal_ : source_; }
  const std::string& literal_text() const { return literal_; }

  std::string_view evaluate(VariableSource& source) const;
  // Appends to a growing buffer.
  void append_to(std::string& out, VariableSource& source) const;
  // Calls visit(VariableId) for each variable in it, in order.
  template <class Visit>
  void for_each_variable(Visit visit) const {
    for (const Piece& piece : pieces_) {
      if (piece.variable != kNoVariable) visit(piece.variable);
    }
  }

 private:
  friend class TemplateBuilder;
  struct Piece {
    uint32_t begin = 0;  // a range of literal_, when variable == kNoVariable
    uint32_t end = 0;
    VariableId variable = kNoVariable;
  };
  std::string source_;   // empty for literals: the text is its own source
  std::string literal_;  // all literal pieces, joined
  std::vector<Piece> pieces_;
};

// Parses template texts against one variable table. For code without a Compiler at hand; setters
// use Compiler::make_template.
class TemplateBuilder {
 public:
  explicit TemplateBuilder(VariableTable& variables) : variables_(variables) {}
  // False when the text is wrong; error() is then nginx's message.
  bool build(std::string_view text, Template& out);
  const std::string& error() const { return error_; }
  // How many bytes of the text were read before the error.
  size_t error_offset() const { return error_offset_; }
  // Does the text hold a '$' at all?
  static bool has_variables(std::string_view text) { return text.find('$') != text.npos; }

 private:
  bool take_variable(std::string_view text, size_t& at, Template& out);
  void add_literal(std::string_view text, Template& out);
  bool fail(std::string error, size_t offset);

  VariableTable& variables_;
  std::string error_;
  size_t error_offset_ = 0;
};

}  // namespace weir::conf
