// Stands for packages that helpers of other tests load, and that this machine has not.
module.exports = {};
