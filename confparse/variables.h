#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::conf {

// What a variable evaluates to. `text` is valid until the end of the request or session it was
// evaluated for. found == false is nginx's "not found": templates take it as empty, `map` as "",
// logs as "-".
struct Value {
  std::string_view text;
  bool found = false;
  static Value of(std::string_view text) { return {text, true}; }
  static Value none() { return {}; }
};

using VariableId = uint32_t;
inline constexpr VariableId kNoVariable = 0xffffffff;

struct Pattern;

// What evaluates variables at run time: an HTTP request or a stream session implements it. Ids are
// those of the generation that it began with.
class VariableSource {
 public:
  // Evaluates (or takes from the cache of cacheable variables).
  virtual Value variable(VariableId id) = 0;
  // Matches and, on success, copies the captures ($1 …; named ones become variables). `subject`
  // need not outlive the call.
  virtual bool match(const Pattern& pattern, std::string_view subject) = 0;
  // Memory that lives as long as the request or session.
  virtual char* allocate(size_t size) = 0;

 protected:
  ~VariableSource() = default;
};

// `data` is the value given with the definition (an index, a pointer into the generation). Prefix
// variables ($http_*) get the VariableTable entry's name through Variable::name; see suffix().
struct Variable;
using VariableGet = Value (*)(VariableSource&, const Variable&);
using VariableSet = void (*)(VariableSource&, const Variable&, Value);

struct Variable {
  std::string name;  // lower case, without '$'
  VariableGet get = nullptr;
  VariableSet set = nullptr;  // called when `set $name` assigns ($args, $limit_rate); may be null
  uintptr_t data = 0;
  bool cacheable = true;    // nginx's inverse of NOCACHEABLE
  bool changeable = false;  // `set`, `map`, … may define or assign this name
  bool prefix = false;      // definition covers every name that starts with `name`
  bool weak = false;  // a prefix-covered name that was set hides the prefix (see README of tables)
  // The variables that its value is made of, where it is (map): for those who must know what is
  // late.
  std::vector<VariableId> reads = {};
  uint16_t prefix_length = 0;  // for a name covered by a prefix: where the rest begins

  std::string_view suffix() const { return std::string_view(name).substr(prefix_length); }
};

// All variables of one subsystem in one generation. Names are matched without regard to case.
// Filled while compiling, then const.
class VariableTable {
 public:
  // Built-in or module definition. Returns false when the name is defined and not changeable
  // (nginx: `the duplicate "x" variable`).
  bool define(Variable variable);
  // The id for a use of `name` (first use gives the id). Undefined names are found by finish().
  // Captures are variables named "$1" … "$9" (the table of a subsystem defines them), since "${1}"
  // is an ordinary name that nothing defines.
  VariableId use(std::string_view name);
  const Variable& operator[](VariableId id) const { return variables_[id]; }
  size_t size() const { return variables_.size(); }
  // May be called again after further uses. Resolves uses against definitions and prefixes, in the
  // order of first use. Returns the names that nothing defines (nginx: `unknown "x" variable`, no
  // place).
  std::vector<std::string> finish();
  // The definition of a name, or null (prefixes do not count). Valid until the next define().
  const Variable* find(std::string_view name) const;
  // Every name and prefix, in the order of definition.
  template <class Visit>
  void for_each_definition(Visit visit) const {
    for (const Variable& variable : definitions_) visit(variable);
  }

 private:
  const Variable* find_prefix(std::string_view lower_name) const;
  bool resolve(Variable& variable) const;

  using Index = std::unordered_map<std::string, uint32_t>;
  std::vector<Variable> variables_;    // by id: the used ones
  std::vector<Variable> definitions_;  // names and prefixes, in the order of definition
  Index use_index_;
  Index definition_index_;
  Index prefix_index_;
};

}  // namespace weir::conf
