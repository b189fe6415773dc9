#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "confparse/advice.h"
#include "confparse/compiler.h"
#include "confparse/value.h"

namespace weir::conf {

// Readers of values: each reads the statement's words into `out`, or reports nginx's error and
// returns false, leaving `out` alone. `old` is the value so far (the parent's, or an earlier
// use's): lists and combined words build on it.
bool read_setting(Compiler&, Scope&, const Statement&, bool& out);
bool read_setting(Compiler&, Scope&, const Statement&, Milliseconds& out);
bool read_setting(Compiler&, Scope&, const Statement&, Seconds& out);
bool read_setting(Compiler&, Scope&, const Statement&, Bytes& out);
bool read_setting(Compiler&, Scope&, const Statement&, FileOffset& out);
bool read_setting(Compiler&, Scope&, const Statement&, Number& out);
bool read_setting(Compiler&, Scope&, const Statement&, Buffers& out);
bool read_setting(Compiler&, Scope&, const Statement&, AccessMode& out);
bool read_setting(Compiler&, Scope&, const Statement&, FolderTree& out);
bool read_setting(Compiler&, Scope&, const Statement&, std::string& out);
bool read_setting(Compiler&, Scope&, const Statement&, Template& out);
// Lists: each use adds all its words. With Merge::replace_list the first use in a scope drops what
// was inherited.
bool read_setting(Compiler&, Scope&, const Statement&, std::vector<std::string>& out);
bool read_setting(Compiler&, Scope&, const Statement&, std::vector<Template>& out);
// Pairs of a name and a value (`keyval`).
bool read_setting(Compiler&, Scope&, const Statement&,
                  std::vector<std::pair<std::string, std::string>>& out);

template <class E>
std::vector<std::string_view> words_of() {
  std::vector<std::string_view> words;
  for (const auto& [word, value] : EnumWords<E>::words) words.push_back(word);
  return words;
}

// The enum value of a word, letter case ignored.
template <class E>
std::optional<E> parse_enum(std::string_view text) {
  for (const auto& [word, value] : EnumWords<E>::words) {
    if (equal_without_case(word, text)) return value;
  }
  return {};
}

template <class E>
  requires std::is_enum_v<E>
bool read_setting(Compiler& compiler, Scope&, const Statement& statement, E& out) {
  const auto value = parse_enum<E>(statement.argument(0));
  if (!value) {
    compiler.invalid_value(statement, statement.words[1],
                           explain_choice(statement.argument(0), words_of<E>()));
    return false;
  }
  out = *value;
  return true;
}

template <class E>
bool read_setting(Compiler& compiler, Scope& scope, const Statement& statement, Bitmask<E>& out) {
  uint32_t bits = compiler.first_use(scope) ? 0 : out.bits;
  for (const Word& word : statement.words.subspan(1)) {
    const auto value = parse_enum<E>(word.text);
    if (!value) {
      compiler.invalid_value(statement, word, explain_choice(word.text, words_of<E>()));
      return false;
    }
    const auto bit = static_cast<uint32_t>(*value);
    if (bits & bit) {
      compiler.warn(statement, "duplicate value \"" + std::string(word.text) + "\"", {}, &word);
    }
    bits |= bit;
  }
  out.bits = bits;
  return true;
}

template <class T>
bool read_setting(Compiler& compiler, Scope& scope, const Statement& statement,
                  std::optional<T>& out) {
  T value = out.value_or(T{});
  if (!read_setting(compiler, scope, statement, value)) return false;
  out = std::move(value);
  return true;
}

template <class Member>
struct MemberParts;
template <class Struct, class Field>
struct MemberParts<Field Struct::*> {
  using struct_type = Struct;
  using field_type = Field;
};

// The setter of a simple value: `.set = into<&ProxyConf::connect_timeout>` reads the words by the
// field's type and writes it into the scope's copy of the struct.
template <auto Member>
void into(Compiler& compiler, Scope& scope, const Statement& statement) {
  using Parts = MemberParts<decltype(Member)>;
  auto value = scope.get<typename Parts::struct_type>().*Member;
  if (read_setting(compiler, scope, statement, value)) {
    scope.write<typename Parts::struct_type>().*Member = std::move(value);
  }
}

// The same for structs that are never inherited (Scope::write_own). The default of such a directive
// is its field's initialiser: `initial` would be lost, since the root scope passes nothing on.
template <auto Member>
void own_into(Compiler& compiler, Scope& scope, const Statement& statement) {
  using Parts = MemberParts<decltype(Member)>;
  using Struct = typename Parts::struct_type;
  const Struct* own = scope.own<Struct>();
  typename Parts::field_type value = own ? own->*Member : Struct{}.*Member;
  if (read_setting(compiler, scope, statement, value)) {
    scope.write_own<Struct>().*Member = std::move(value);
  }
}

}  // namespace weir::conf
