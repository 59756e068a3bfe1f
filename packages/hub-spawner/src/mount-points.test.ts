import t from 'tap';
import { parseMountPoints } from './mount-points.js';

t.test('mount points are read with their escapes undone', async (t) => {
  const text = [
    '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
    '40 22 254:0 /srv /var/lib/private/metalhub/home/anna rw - ext4 /dev/vda rw',
    '41 22 0:30 / /mnt/with\\040space\\134 rw - tmpfs tmpfs rw',
    '',
  ].join('\n');
  t.same([...parseMountPoints(text)], ['/', '/var/lib/private/metalhub/home/anna', '/mnt/with space\\']);
});
