import { parseKey } from '@metalhub/base/names.js';
import { mergeSettings } from '@metalhub/config/profile-settings.js';
import type { UnitProperty } from '@metalhub/systemd/unit-property.js';
import type { BusInput, Variant } from '@metalhub/systemd/variant.js';
import type { ProfileChanges, ProfileEntry, ProfileSettings } from './profile-shape.js';
import { ALL_NAMESPACES } from './sandbox.js';
import { dynamicAccount } from './user-account.js';
import { userUnitProperties } from './user-unit.js';

/**
 * Each profile as a unit file by its name; overrides and options, each laid over the profile by itself, by
 * `profile/override` and `profile/choice/option` where their sandbox is another.
 */
export function profileUnits(profiles: readonly ProfileEntry[]): Record<string, string> {
  const [key, uid] = [parseKey('somebody'), 70_000];
  const local = { name: key, uid, gid: uid, home: `/home/${key}`, shell: '/bin/bash', isLocal: true };
  const units: Record<string, string> = {};
  for (const { name, settings, overrides, choices } of profiles) {
    const renderWith = (changes: ProfileChanges): string => {
      const profile = { name, ...mergeSettings<ProfileSettings>(settings, changes) };
      const account = profile.account_mode === 'dynamic' ? dynamicAccount(key, uid) : local;
      return renderUnit(userUnitProperties({ key, account, profile }));
    };
    const plain = renderWith({});
    units[name] = plain;
    const variants = [
      ...overrides.map((override) => [override.name, override.changes] as const),
      ...choices.flatMap((choice) =>
        choice.options.map((option) => [`${choice.name}/${option.name}`, option.changes] as const),
      ),
    ];
    for (const [variant, changes] of variants) {
      const text = renderWith(changes);
      if (text !== plain) units[`${name}/${variant}`] = text;
    }
  }
  return units;
}

/**
 * Properties as a unit file has them, so far as `systemd-analyze security` judges them: account, sandbox, devices,
 * network. Limits, mounts and what is run are left out.
 */
export function renderUnit(properties: readonly UnitProperty[]): string {
  const lines = properties.flatMap(([name, value]) => render(name, value).map((text) => `${name}=${text}`));
  return ['[Service]', 'ExecStart=/bin/true', ...lines, ''].join('\n');
}

function render(name: string, { signature, value }: Variant): string[] {
  switch (name) {
    case 'RestrictNamespaces':
      return [value === ALL_NAMESPACES ? 'no' : 'yes'];
    case 'CapabilityBoundingSet':
    case 'AmbientCapabilities':
      // Always the empty set.
      return [''];
    case 'UMask':
      return [`0${Number(value).toString(8)}`];
    case 'DeviceAllow':
      return rowsOf(value).map((row) => row.join(' '));
    case 'IPAddressAllow':
    case 'IPAddressDeny':
      return rowsOf(value).map(([, address, prefix]) => `${addressText(address)}/${prefix}`);
    default:
      return plain(signature, value);
  }
}

function plain(signature: string, value: BusInput): string[] {
  if (signature === 'b') return [value === true ? 'yes' : 'no'];
  if (signature === 's') return [String(value)];
  if (signature === 'as') return [rowsOf(value).join(' ')];
  if (signature !== '(bas)') return [];
  const [isAllowed, names] = rowsOf(value);
  return [`${String(isAllowed) === 'true' ? '' : '~'}${rowsOf(names).join(' ')}`];
}

function rowsOf(value: unknown): (readonly unknown[])[] {
  return Array.isArray(value) ? value : [];
}

function addressText(address: unknown): string {
  if (!Buffer.isBuffer(address)) return '';
  if (address.length === 4) return [...address].join('.');
  return (address.toString('hex').match(/.{4}/g) ?? []).join(':');
}
