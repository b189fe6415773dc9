#include "modules/shared/geo.h"

#include <algorithm>

#include "modules/shared/geo_tables.h"

namespace weir::shared {

namespace {

conf::Value evaluate_geo(conf::VariableSource& source, const conf::Variable& variable) {
  return reinterpret_cast<const Geo*>(variable.data)->evaluate(source);
}

bool is_variable(conf::Compiler& compiler, const conf::Statement& statement,
                 const conf::Word& word) {
  if (word.text.starts_with("$") && word.text.size() > 1) return true;
  compiler.error(statement, "invalid variable name \"" + std::string(word.text) + "\"",
                 "a variable's name begins with $", &word);
  return false;
}

}  // namespace

std::unique_ptr<Geo> Geo::define(conf::Compiler& compiler, const conf::Statement& statement,
                                 ClientAddress client, bool proxies) {
  const bool has_source = statement.words.size() == 3;
  for (const conf::Word& word : statement.words.subspan(1)) {
    if (!is_variable(compiler, statement, word)) return nullptr;
  }
  const conf::Word& name = statement.words[has_source ? 2 : 1];
  const conf::VariableId source =
      has_source ? compiler.variables().use(statement.words[1].text.substr(1)) : conf::kNoVariable;
  conf::Variable variable;
  variable.name = name.text.substr(1);
  variable.get = evaluate_geo;
  variable.changeable = true;
  if (const conf::Variable* known = compiler.variables().find(variable.name);
      known && !known->changeable) {
    compiler.error(statement, "the duplicate \"" + variable.name + "\" variable", {}, &name);
    return nullptr;
  }
  auto geo = read(compiler, statement, proxies);
  if (!geo) return nullptr;
  geo->source_ = source;
  geo->client_ = client;
  variable.cacheable = !geo->is_volatile;
  variable.data = reinterpret_cast<uintptr_t>(geo.get());
  if (has_source) variable.reads = {source};
  compiler.variables().define(variable);
  return geo;
}

conf::Value Geo::evaluate(conf::VariableSource& request) const {
  if (source_ == conf::kNoVariable) return find(client_(request, *this));
  const conf::Value text = request.variable(source_);
  return find_text(text.found ? text.text : std::string_view());
}

namespace {

template <class Number>
uint32_t value_of(const std::vector<std::pair<Number, uint32_t>>& borders, Number address) {
  const auto behind =
      std::upper_bound(borders.begin(), borders.end(), address,
                       [](Number wanted, const auto& border) { return wanted < border.first; });
  return behind == borders.begin() ? 0 : std::prev(behind)->second;
}

}  // namespace

conf::Value Geo::find(const net::Address& address) const {
  const net::Address plain = address.unmapped();
  const std::string_view bytes = plain.binary();
  const auto* raw = reinterpret_cast<const uint8_t*>(bytes.data());
  if (bytes.size() == 16) {
    return value_at(ranges_ ? other_ : value_of(ipv6_, wide_of(raw)));
  }
  return value_at(value_of(ipv4_, bytes.size() == 4 ? narrow_of(raw) : kNoAddress));
}

conf::Value Geo::find_text(std::string_view address) const {
  const auto parsed = net::Address::parse_host(address);
  return find(parsed ? *parsed : net::Address());
}

}  // namespace weir::shared
